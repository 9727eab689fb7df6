//! How others get in: the bearer token and the kubeconfig that carries it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::data_dir::{DataDir, DataDirError, failed, write_private};

/// The token of this data directory: the one it has, so that copies of its kubeconfig stay good over a restart, or a
/// new one.
///
/// # Errors
/// When the file can be neither read nor written.
pub fn token(dir: &DataDir) -> Result<String, DataDirError> {
    let path = dir.token();
    match std::fs::read_to_string(&path) {
        Ok(token) if !token.trim().is_empty() => return Ok(token.trim().to_owned()),
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("read", &path)(error)),
    }
    // Two v4 UUIDs: 244 random bits from the system's generator.
    let token = format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
    write_private(&path, &format!("{token}\n"))?;
    Ok(token)
}

/// The URL under which this machine reaches a listener on `address`: a wildcard is reached over loopback.
pub fn url(address: SocketAddr) -> String {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    format!("https://{}", SocketAddr::new(ip, address.port()))
}

/// The names a server certificate for `address` must carry.
pub fn names(address: SocketAddr) -> Vec<String> {
    let mut names = vec![
        "localhost".to_owned(),
        Ipv4Addr::LOCALHOST.to_string(),
        Ipv6Addr::LOCALHOST.to_string(),
        "kubernetes".to_owned(),
    ];
    let own = address.ip().to_string();
    if !address.ip().is_unspecified() && !names.contains(&own) {
        names.push(own);
    }
    names
}

/// A kubeconfig with everything inline. Every value is a URL, base64 or hexadecimal, so nothing needs quoting.
pub fn kubeconfig(server: &str, ca_pem: &str, token: &str) -> String {
    let ca = STANDARD.encode(ca_pem);
    format!(
        "apiVersion: v1\n\
         kind: Config\n\
         clusters:\n\
         - name: supple\n  cluster:\n    server: {server}\n    certificate-authority-data: {ca}\n\
         users:\n\
         - name: supple\n  user:\n    token: {token}\n\
         contexts:\n\
         - name: supple\n  context:\n    cluster: supple\n    user: supple\n    namespace: default\n\
         current-context: supple\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_stays() {
        let dir = tempfile::tempdir().unwrap();
        let dir = DataDir::open(dir.path()).unwrap();
        let first = token(&dir).unwrap();
        assert_eq!(first.len(), 64);
        assert_eq!(token(&dir).unwrap(), first);
        std::fs::write(dir.token(), "").unwrap();
        assert_ne!(token(&dir).unwrap(), first);
    }

    #[track_caller]
    fn check_url(address: &str, expect: &str) {
        assert_eq!(url(address.parse().unwrap()), expect);
    }

    #[test]
    fn urls() {
        check_url("127.0.0.1:6443", "https://127.0.0.1:6443");
        check_url("0.0.0.0:1", "https://127.0.0.1:1");
        check_url("[::]:2", "https://[::1]:2");
        check_url("10.0.0.7:3", "https://10.0.0.7:3");
    }

    #[test]
    fn the_kubeconfig_is_one() {
        let text = kubeconfig("https://127.0.0.1:6443", "-----BEGIN CERTIFICATE-----", "abc");
        let config: kube::config::Kubeconfig = kube::config::Kubeconfig::from_yaml(&text).unwrap();
        assert_eq!(config.current_context.as_deref(), Some("supple"));
        assert_eq!(config.clusters[0].cluster.as_ref().unwrap().server.as_deref(), Some("https://127.0.0.1:6443"));
    }
}
