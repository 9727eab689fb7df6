//! Who the server is: a certificate authority of its own, kept in the data directory, and a leaf made at every start.
//!
//! Only the authority is kept, because kubeconfigs carry its certificate. The leaf costs a fraction of a millisecond
//! to make, so it always names exactly what the server listens on today, and there is no renewal to forget.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject};

/// File names below the directory given to [`Identity::load_or_create`].
const CA_CERTIFICATE: &str = "ca.crt";
const CA_KEY: &str = "ca.key";

/// A server certificate and the authority it can be checked against.
pub struct Identity {
    ca_pem: String,
    chain: Vec<CertificateDer<'static>>,
    key: PrivatePkcs8KeyDer<'static>,
}

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file could not be read or written.
    #[error("{operation} {path}: {source}")]
    File {
        /// What was being done.
        operation: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file holds something else than it should.
    #[error(
        "{path} does not hold {expected} in PEM form ({message}); delete it and its neighbour to have both made anew"
    )]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What it should hold.
        expected: &'static str,
        /// What the parser said.
        message: String,
    },
    /// The certificate could not be made: a name that is neither a DNS name nor an address.
    #[error("make a server certificate for {names}: {message}")]
    Generate {
        /// The names asked for, comma-joined.
        names: String,
        /// What the generator said.
        message: String,
    },
}

impl Identity {
    /// The authority in `dir` (made there, with mode 0600, if absent) and a new leaf for `names`: DNS names and
    /// addresses under which clients will call.
    ///
    /// # Errors
    /// [`IdentityError`] names the file or the names it is about.
    pub fn load_or_create(dir: &Path, names: &[String]) -> Result<Self, IdentityError> {
        let generate =
            |error: rcgen::Error| IdentityError::Generate { names: names.join(", "), message: error.to_string() };
        let (key_path, certificate_path) = (dir.join(CA_KEY), dir.join(CA_CERTIFICATE));
        let ca_key = match read_if_exists(&key_path)? {
            Some(pem) => KeyPair::from_pem(&pem).map_err(|error| IdentityError::Malformed {
                path: key_path,
                expected: "a private key",
                message: error.to_string(),
            })?,
            None => {
                let key = KeyPair::generate().map_err(generate)?;
                write_private(&key_path, &key.serialize_pem())?;
                // A certificate without its key is left over from an interrupted start or a deleted key: made anew.
                match std::fs::remove_file(&certificate_path) {
                    Err(source) if source.kind() != io::ErrorKind::NotFound => {
                        return Err(IdentityError::File { operation: "remove", path: certificate_path, source });
                    }
                    _ => key,
                }
            }
        };
        let ca_params = authority();
        let ca_pem = match read_if_exists(&certificate_path)? {
            Some(pem) => pem,
            None => {
                let pem = ca_params.self_signed(&ca_key).map_err(generate)?.pem();
                write_private(&certificate_path, &pem)?;
                pem
            }
        };
        let malformed = |message: String| IdentityError::Malformed {
            path: certificate_path.clone(),
            expected: "the certificate of the key beside it",
            message,
        };
        let ca_der = CertificateDer::from_pem_slice(ca_pem.as_bytes()).map_err(|error| malformed(error.to_string()))?;
        // A certificate of another key would make every client refuse us without saying why. The key stands in it as it
        // is, so it can be looked for without reading the rest.
        let public_key = ca_key.public_key_raw();
        if !ca_der.windows(public_key.len()).any(|part| part == public_key) {
            return Err(malformed("it is of another key".to_owned()));
        }

        let leaf_key = KeyPair::generate().map_err(generate)?;
        let leaf = leaf(names).map_err(generate)?;
        // The issuer is rebuilt from the fixed parameters and the key: a chain is checked by the authority's name and
        // signature, and both are the same as in the certificate on disk.
        let leaf = leaf.signed_by(&leaf_key, &Issuer::new(ca_params, ca_key)).map_err(generate)?;
        Ok(Self {
            ca_pem,
            chain: vec![leaf.der().clone(), ca_der],
            key: PrivatePkcs8KeyDer::from(leaf_key.serialize_der()),
        })
    }

    /// The authority's certificate, as a kubeconfig's `certificate-authority-data` wants it before base64.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// What a TLS listener needs.
    pub fn server_config(&self) -> Result<rustls::ServerConfig, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(self.chain.clone(), PrivateKeyDer::Pkcs8(self.key.clone_key()))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

/// The authority's fixed parameters. The validity is rcgen's (1975 to 4096): a machine whose clock is wrong should not
/// find itself locked out of its own loopback server.
fn authority() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "supple-ca");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn leaf(names: &[String]) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names.to_vec())?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "supple-apiserver");
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(params)
}

fn read_if_exists(path: &Path) -> Result<Option<String>, IdentityError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(IdentityError::File { operation: "read", path: path.to_owned(), source }),
    }
}

/// Writes a file of mode 0600 so that it is there whole or not at all.
fn write_private(path: &Path, text: &str) -> Result<(), IdentityError> {
    use std::os::unix::fs::OpenOptionsExt;
    let temporary = path.with_extension("tmp");
    let write = || -> io::Result<()> {
        let mut file =
            std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    };
    write().map_err(|source| IdentityError::File { operation: "write", path: path.to_owned(), source })
}
