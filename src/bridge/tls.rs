//! TLS to a store, on bytes alone: what came is opened, what is to be written is sealed.
//!
//! Must not know sockets, nor what is said. Invariants: nothing is taken for said by the store
//! before its certificate is verified for the name that was dialled; what rustls holds back is
//! bounded by one record and what was handed over for sealing.

use rustls::{ClientConfig, ClientConnection, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use std::io::{Read, Write};
use std::sync::Arc;

/// Why TLS cannot be used at all.
#[derive(Debug)]
pub enum TlsError {
    /// The host is neither a name nor an address.
    Name(String),
    /// A certificate of an authority cannot be read or used.
    Authority(String),
    /// There is none.
    NoAuthority(String),
    /// The library will not have these settings.
    Settings(rustls::Error),
}

impl std::fmt::Display for TlsError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            TlsError::Name(host) => write!(f, "{host:?} is no name that a certificate can have"),
            TlsError::Authority(why) => write!(f, "a certificate of an authority is wrong: {why}"),
            TlsError::NoAuthority(why) => write!(
                f,
                "this system has no certificates of authorities{why}: install ca-certificates, or \
                 set redis.tls_ca_file"
            ),
            TlsError::Settings(error) => write!(f, "TLS cannot be used: {error}"),
        }
    }
}

impl std::error::Error for TlsError {}

/// Whom to believe, and whom to expect.
#[derive(Clone)]
pub struct Tls {
    settings: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Tls {
    /// For this host, whose certificate has to be from one of these authorities, a PEM text; "" for
    /// those that the system believes.
    ///
    /// # Errors
    /// Nobody could be believed.
    pub fn new(host: &str, authorities: &str) -> Result<Tls, TlsError> {
        let name = ServerName::try_from(host.to_owned());
        let name = name.map_err(|_| TlsError::Name(host.to_owned()))?;
        let believed = if authorities.is_empty() { of_system()? } else { read(authorities)? };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let settings = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Settings)?
            .with_root_certificates(believed)
            .with_no_client_auth();
        Ok(Tls { settings: Arc::new(settings), name })
    }
}

fn read(authorities: &str) -> Result<RootCertStore, TlsError> {
    let wrong = |why: String| TlsError::Authority(why);
    let mut believed = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authorities.as_bytes()) {
        let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
        believed.add(certificate).map_err(|error| wrong(error.to_string()))?;
    }
    if believed.is_empty() {
        return Err(wrong("the file has none".into()));
    }
    Ok(believed)
}

fn of_system() -> Result<RootCertStore, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut believed = RootCertStore::empty();
    // Systems have some that are too old to be used.
    believed.add_parsable_certificates(found.certs);
    if believed.is_empty() {
        let why = found.errors.first().map_or(String::new(), |error| format!(" ({error})"));
        return Err(TlsError::NoAuthority(why));
    }
    Ok(believed)
}

/// One connection, sealed or not.
pub struct Session(Option<Box<ClientConnection>>);

impl Session {
    /// # Errors
    /// The library will not begin.
    pub fn new(tls: Option<&Tls>) -> Result<Session, rustls::Error> {
        let Some(tls) = tls else { return Ok(Session(None)) };
        let mut sealed = ClientConnection::new(Arc::clone(&tls.settings), tls.name.clone())?;
        // What is handed over before the handshake ends waits; a shard says only a greeting then.
        sealed.set_buffer_limit(None);
        Ok(Session(Some(Box::new(sealed))))
    }

    /// Opens what came, and hands over each part.
    ///
    /// # Errors
    /// The peer is not whom we expect, or what came is not sealed as agreed.
    pub fn open(
        &mut self,
        mut bytes: &[u8],
        mut hand: impl FnMut(&[u8]),
    ) -> Result<(), rustls::Error> {
        let Some(sealed) = &mut self.0 else {
            hand(bytes);
            return Ok(());
        };
        let mut part = [0; 16 << 10];
        while !bytes.is_empty() {
            let taken = sealed.read_tls(&mut bytes);
            debug_assert!(matches!(taken, Ok(1..)), "what was opened is taken out: {taken:?}");
            sealed.process_new_packets()?;
            while let Ok(length @ 1..) = sealed.reader().read(&mut part) {
                hand(&part[..length]);
            }
        }
        Ok(())
    }

    /// Replaces what is to be said by the bytes to write, which may be some where nothing is to be
    /// said.
    pub fn seal(&mut self, said: &mut Vec<u8>) {
        let Some(sealed) = &mut self.0 else { return };
        let taken = sealed.writer().write_all(said);
        debug_assert!(taken.is_ok(), "it has no limit");
        said.clear();
        while sealed.wants_write() {
            let written = sealed.write_tls(said);
            debug_assert!(written.is_ok(), "a vector takes what it is given");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AUTHORITY: &str = include_str!("../../tests/data/tls/authority.pem");

    #[test]
    fn whom_to_believe_is_read() {
        assert!(Tls::new("redis.example", AUTHORITY).is_ok());
        assert!(Tls::new("::1", &format!("{AUTHORITY}{AUTHORITY}")).is_ok());
        let error = |host, text| match Tls::new(host, text) {
            Ok(_) => panic!("{host} {text}"),
            Err(error) => error.to_string(),
        };
        assert!(error("a b", AUTHORITY).contains("no name"));
        assert!(error("redis.example", "nothing").contains("the file has none"));
        let broken = AUTHORITY.replace("MII", "AAA");
        assert!(error("redis.example", &broken).contains("wrong"));
    }

    #[test]
    fn without_tls_bytes_are_what_they_are() {
        let mut session = Session::new(None).expect("nothing to begin");
        let mut heard = Vec::new();
        session.open(b"abc", |part| heard.extend_from_slice(part)).expect("nothing to open");
        let mut said = b"def".to_vec();
        session.seal(&mut said);
        assert_eq!((heard.as_slice(), said.as_slice()), (&b"abc"[..], &b"def"[..]));
    }

    #[test]
    fn a_session_begins_by_itself_and_garbage_ends_it() {
        let tls = Tls::new("localhost", AUTHORITY).expect("good settings");
        let mut session = Session::new(Some(&tls)).expect("it begins");
        let mut said = Vec::new();
        session.seal(&mut said);
        assert_eq!(said[0], 22, "a handshake record (RFC 8446 section 5.1)");
        let mut none = Vec::new();
        session.seal(&mut none);
        assert!(none.is_empty(), "once");
        let error = session.open(b"-ERR this is a plain Redis\r\n", |_| panic!("not opened"));
        assert!(error.is_err());
    }
}
