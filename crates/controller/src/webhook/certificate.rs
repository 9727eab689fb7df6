//! The webhook's certificates: an authority that signs one certificate and is then forgotten, so that no key of an authority
//! lies anywhere. A new pair takes the place of the old one long before that runs out, and both authorities are trusted
//! meanwhile.
//!
//! What is kept is a Secret; when what is in it is to be replaced is decided here, purely. A certificate of somebody else is only
//! served: whoever made it replaces it, and has its authority trusted.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};

/// For how long a certificate is good.
const GOOD: SignedDuration = SignedDuration::from_hours(90 * 24);

/// With less than this left it is replaced.
const RENEW: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Another clock may be this much behind ours.
const SKEW: SignedDuration = SignedDuration::from_hours(24);

/// Keys of the Secret; the last two are those of any Secret of the type `kubernetes.io/tls`, too.
const AUTHORITIES: &str = "ca.crt";
pub(super) const CERTIFICATE: &str = "tls.crt";
pub(super) const KEY: &str = "tls.key";
const NAMES: &str = "names";
const UNTIL: &str = "until";

/// A certificate with all that belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// Authorities to be trusted, in PEM form, the one that signed first.
    pub authorities: String,
    /// The certificate, in PEM form.
    pub certificate: String,
    /// Its key, in PEM form.
    key: Key,
    /// Under which names the server is called.
    pub names: Vec<String>,
    /// When it runs out.
    pub until: Timestamp,
}

/// Not shown to anybody, in no log either.
#[derive(Clone, PartialEq, Eq)]
struct Key(String);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// It could not be made: a name that is neither a DNS name nor an address.
    #[error("make a certificate for {names}: {message}")]
    Make {
        /// The names, comma-joined.
        names: String,
        /// What the generator said.
        message: String,
    },
    /// What is kept cannot be used.
    #[error("use the webhook's certificate: {0}")]
    Use(String),
}

/// Whether what is kept is still good: for these names, and for a while to come.
#[must_use]
pub fn is_good(kept: Option<&Pair>, names: &[String], now: Timestamp) -> bool {
    kept.is_some_and(|it| it.names == names && it.until.duration_since(now) > RENEW && it.server_config().is_ok())
}

impl Pair {
    /// A new one for these names. The authority of the one before stays trusted, because not everybody has the new one yet.
    ///
    /// # Errors
    /// [`CertificateError`] for names that are none.
    pub fn make(names: &[String], before: Option<&Self>, now: Timestamp) -> Result<Self, CertificateError> {
        let wrong =
            |error: rcgen::Error| CertificateError::Make { names: names.join(", "), message: error.to_string() };
        let until = now.saturating_add(GOOD).unwrap_or(Timestamp::MAX);
        let authority_key = KeyPair::generate().map_err(wrong)?;
        let mut authority = CertificateParams::default();
        within(&mut authority, now, until);
        authority.distinguished_name = rcgen::DistinguishedName::new();
        // Authorities of one name are one to whoever builds a chain by names: each has its own.
        authority.distinguished_name.push(DnType::CommonName, format!("supple-webhook-ca-{}", now.as_nanosecond()));
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        authority.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign];
        let mut authorities = authority.self_signed(&authority_key).map_err(wrong)?.pem();
        if let Some(before) = before.and_then(Self::newest_authority) {
            authorities.push_str(&before);
        }

        let key = KeyPair::generate().map_err(wrong)?;
        let mut leaf = CertificateParams::new(names.to_vec()).map_err(wrong)?;
        within(&mut leaf, now, until);
        leaf.distinguished_name = rcgen::DistinguishedName::new();
        leaf.distinguished_name.push(DnType::CommonName, "supple-webhook");
        leaf.use_authority_key_identifier_extension = true;
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = leaf.signed_by(&key, &Issuer::new(authority, authority_key)).map_err(wrong)?.pem();
        Ok(Self { authorities, certificate, key: Key(key.serialize_pem()), names: names.to_vec(), until })
    }

    /// One of somebody else, in PEM form. Which names it is for, and who is trusted to have signed it, is that one's business.
    ///
    /// # Errors
    /// [`CertificateError::Use`] where it cannot be served.
    pub fn given(certificate: String, key: String) -> Result<Self, CertificateError> {
        let first = CertificateDer::pem_slice_iter(certificate.as_bytes()).next().and_then(Result::ok);
        let until = first.and_then(|it| runs_out(&it));
        let until = until.ok_or_else(|| CertificateError::Use(format!("{CERTIFICATE} holds no certificate")))?;
        let pair = Self { authorities: String::new(), certificate, key: Key(key), names: Vec::new(), until };
        pair.server_config().map(|_| pair)
    }

    /// The authority that signed it, alone.
    fn newest_authority(&self) -> Option<String> {
        const END: &str = "-----END CERTIFICATE-----";
        let (pem, _) = self.authorities.split_once(END)?;
        Some(format!("{}{END}\n", pem.trim_start()))
    }

    /// What is in a Secret; `None` where it is not a pair of ours.
    #[must_use]
    pub fn of_secret(data: &BTreeMap<String, ByteString>) -> Option<Self> {
        let text = |key: &str| String::from_utf8(data.get(key)?.0.clone()).ok();
        Some(Self {
            authorities: text(AUTHORITIES)?,
            certificate: text(CERTIFICATE)?,
            key: Key(text(KEY)?),
            names: text(NAMES)?.split(',').map(str::to_owned).collect(),
            until: text(UNTIL)?.parse().ok()?,
        })
    }

    /// What is put in a Secret.
    #[must_use]
    pub fn to_secret(&self) -> BTreeMap<String, ByteString> {
        let Self { authorities, certificate, key, names, until } = self;
        let data = [
            (AUTHORITIES, authorities.clone()),
            (CERTIFICATE, certificate.clone()),
            (KEY, key.0.clone()),
            (NAMES, names.join(",")),
            (UNTIL, until.to_string()),
        ];
        data.into_iter().map(|(key, text)| (key.to_owned(), ByteString(text.into_bytes()))).collect()
    }

    /// What a TLS listener needs.
    ///
    /// # Errors
    /// [`CertificateError::Use`] where what is kept is damaged.
    pub fn server_config(&self) -> Result<Arc<ServerConfig>, CertificateError> {
        let wrong = |error: &dyn fmt::Display| CertificateError::Use(error.to_string());
        let chain = CertificateDer::pem_slice_iter(self.certificate.as_bytes()).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|error| wrong(&error))?;
        let key = PrivateKeyDer::from_pem_slice(self.key.0.as_bytes()).map_err(|error| wrong(&error))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| wrong(&error))?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|error| wrong(&error))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

/// When a certificate runs out, as it says itself (RFC 5280, 4.1).
fn runs_out(certificate: &[u8]) -> Option<Timestamp> {
    let mut fields = element(element(certificate)?.1)?.1;
    if element(fields)?.0 == 0xA0 {
        fields = element(fields)?.2; // the version, where it is said
    }
    for _ in ["serial number", "algorithm", "issuer"] {
        fields = element(fields)?.2;
    }
    let (kind, until, _) = element(element(element(fields)?.1)?.2)?;
    let text = std::str::from_utf8(until).ok()?;
    // Times up to 2049 have two digits for the year.
    let text = match kind {
        0x17 if text < "50" => format!("20{text}"),
        0x17 => format!("19{text}"),
        _ => text.to_owned(),
    };
    let part = |at: usize| text.get(at..at + 2)?.parse().ok();
    let year = text.get(..4)?.parse().ok()?;
    let at = DateTime::new(year, part(4)?, part(6)?, part(8)?, part(10)?, part(12)?, 0).ok()?;
    // One that never runs out says so by the last second that can be written.
    Some(at.to_zoned(TimeZone::UTC).map_or(Timestamp::MAX, |it| it.timestamp()))
}

/// An element of DER: its kind, what is in it, and what comes after it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (kind, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7F => (usize::from(*first), rest),
        0x81..=0x84 => {
            let (length, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
            (length.iter().fold(0, |sum, it| sum << 8 | usize::from(*it)), rest)
        }
        _ => return None,
    };
    let (content, after) = rest.split_at_checked(length)?;
    Some((*kind, content, after))
}

/// Good from a little before now, in whole days.
fn within(params: &mut CertificateParams, now: Timestamp, until: Timestamp) {
    let day = |at: Timestamp| {
        let date = at.to_zoned(TimeZone::UTC).date();
        // A date's month and day are positive.
        let small = |it: i8| u8::try_from(it).unwrap_or(1);
        rcgen::date_time_ymd(i32::from(date.year()), small(date.month()), small(date.day()))
    };
    params.not_before = day(now.saturating_sub(SKEW).unwrap_or(Timestamp::MIN));
    params.not_after = day(until.saturating_add(SKEW).unwrap_or(Timestamp::MAX));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Vec<String> {
        vec!["supple-webhook.supple-system.svc".to_owned(), "127.0.0.1".to_owned()]
    }

    fn now() -> Timestamp {
        "2026-03-01T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn what_is_kept_is_what_was_made() {
        let pair = Pair::make(&names(), None, now()).unwrap();
        assert_eq!(Pair::of_secret(&pair.to_secret()), Some(pair.clone()));
        assert!(pair.server_config().is_ok());
        assert_eq!(Pair::of_secret(&BTreeMap::new()), None);
    }

    #[test]
    fn it_is_good_until_a_third_of_its_time_is_left() {
        let pair = Pair::make(&names(), None, now()).unwrap();
        let days = |it: i64| now() + SignedDuration::from_hours(24 * it);
        #[track_caller]
        fn check(pair: Option<&Pair>, names: &[String], now: Timestamp, expect: bool) {
            assert_eq!(is_good(pair, names, now), expect, "{now}");
        }
        check(Some(&pair), &names(), days(0), true);
        check(Some(&pair), &names(), days(59), true);
        check(Some(&pair), &names(), days(60), false);
        check(Some(&pair), &names(), days(100), false);
        check(Some(&pair), &["other.svc".to_owned()], days(0), false);
        check(None, &names(), days(0), false);
        let damaged = Pair { key: Key("nothing".to_owned()), ..pair };
        check(Some(&damaged), &names(), days(0), false);
        assert!(damaged.server_config().is_err());
    }

    #[test]
    fn the_authority_before_stays_trusted_and_no_longer() {
        let first = Pair::make(&names(), None, now()).unwrap();
        let second = Pair::make(&names(), Some(&first), now() + GOOD).unwrap();
        let third = Pair::make(&names(), Some(&second), now() + GOOD + GOOD).unwrap();
        let count = |it: &Pair| it.authorities.matches("BEGIN CERTIFICATE").count();
        assert_eq!((count(&first), count(&second), count(&third)), (1, 2, 2));
        assert!(second.authorities.ends_with(&first.authorities));
        assert!(!third.authorities.contains(first.authorities.trim()));
    }

    #[test]
    fn one_of_somebody_else_is_served_and_says_itself_when_it_runs_out() {
        let made = Pair::make(&names(), None, now()).unwrap();
        let given = |key: &str| Pair::given(made.certificate.clone(), key.to_owned());
        let pair = given(&made.key.0).unwrap();
        let day = "2026-05-31T00:00:00Z".parse().unwrap(); // in whole days
        assert_eq!((pair.until, pair.authorities.as_str()), (day, ""));
        let other = Pair::make(&names(), None, now()).unwrap();
        let wrong = given(&other.key.0).unwrap_err().to_string();
        assert!(wrong.starts_with("use the webhook's certificate: "), "{wrong}");
        let wrong = Pair::given("nothing".to_owned(), made.key.0.clone()).unwrap_err().to_string();
        assert_eq!(wrong, "use the webhook's certificate: tls.crt holds no certificate");
    }

    /// A certificate of which only that can be read: with a version, a serial number of two bytes, and a time of this kind.
    #[track_caller]
    fn check_end(kind: u8, time: &str, expect: Option<&str>) {
        let within = |kind: u8, content: &[u8]| [&[kind, u8::try_from(content.len()).unwrap()][..], content].concat();
        let times = [within(0x17, b"260101000000Z"), within(kind, time.as_bytes())].concat();
        let fields = [
            within(0xA0, &[2, 1, 2]),
            within(2, &[0, 200]),
            within(0x30, b""),
            within(0x30, b""),
            within(0x30, &times),
        ];
        let certificate = within(0x30, &within(0x30, &fields.concat()));
        assert_eq!(runs_out(&certificate), expect.map(|it| it.parse().unwrap()), "{time}");
        (0..certificate.len()).for_each(|end| assert_eq!(runs_out(&certificate[..end]), None, "cut at {end}"));
    }

    #[test]
    fn times_of_certificates_are_read_in_both_forms_and_none_breaks_it() {
        check_end(0x17, "270203040506Z", Some("2027-02-03T04:05:06Z"));
        check_end(0x17, "990203040506Z", Some("1999-02-03T04:05:06Z"));
        check_end(0x18, "20510203040506Z", Some("2051-02-03T04:05:06Z"));
        check_end(0x18, "99991231235959Z", Some(Timestamp::MAX.to_string().as_str()));
        for none in ["", "é", "271303040506Z", "2", "27020304"] {
            check_end(0x17, none, None);
        }
        assert_eq!(runs_out(&[0x30, 0x84, 0xFF, 0xFF, 0xFF, 0xFF, 0]), None);
    }

    #[test]
    fn names_that_are_none_are_refused() {
        let error = Pair::make(&["é".to_owned()], None, now()).unwrap_err().to_string();
        assert!(error.starts_with("make a certificate for é: "), "{error}");
    }
}
