{{- define "supple.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "supple.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains (include "supple.name" .) .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "supple.name" .) | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "supple.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "supple.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.name is needed where serviceAccount.create is false" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "supple.selector" -}}
app.kubernetes.io/name: {{ include "supple.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "supple.labels" -}}
{{ include "supple.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "supple.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end -}}

{{- /* Directives for one word; anything else is passed on as it is. */ -}}
{{- define "supple.log" -}}
{{- if has .Values.logging.level (list "error" "warn" "info" "debug" "trace") -}}
warn,supple={{ .Values.logging.level }},kube_client=off,kube_runtime=error
{{- else -}}
{{ .Values.logging.level }}
{{- end -}}
{{- end -}}

{{- /* The secret with a certificate of somebody else for the webhook; empty: it makes its own. After an upgrade with the values of
       an older chart there is no such value. */ -}}
{{- define "supple.givenCertificate" -}}
{{- if .Values.webhook.enabled -}}
{{- (.Values.webhook.certificate).secretName | default "" -}}
{{- end -}}
{{- end -}}

{{- /* Namespaces that admission does not look at. */ -}}
{{- define "supple.exemptNamespaces" -}}
{{- concat (list "kube-system" .Release.Namespace) .Values.excludedNamespaces | uniq | toJson -}}
{{- end -}}
