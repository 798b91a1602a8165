//! What makes two requests the same one: the caller's key, the fingerprint of the request, and the first answer, which
//! every replay repeats. Source: contract §4 rule 2.

use std::fmt;

use aws_lc_rs::hmac;

/// An `Idempotency-Key`: 1 to 255 visible ASCII characters, chosen by the caller and unique per merchant.
///
/// `abc` and `"abc"` are the same key. Source: contract §3, after the IETF Idempotency-Key draft.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(String);

/// Why a header value is no [`IdempotencyKey`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Nothing, or an empty quoted string.
    #[error("the key is empty")]
    Empty,
    /// More than [`IdempotencyKey::MAX_LEN`] characters.
    #[error("the key is longer than 255 characters")]
    TooLong,
    /// A space, a control character, or anything that is not ASCII.
    #[error("the key holds something other than visible ASCII characters")]
    NotVisibleAscii,
    /// A quoted string that doesn't end, has something behind its end, or escapes another character than `"` and `\`.
    #[error("the key is not a well-formed quoted string")]
    BadQuoting,
}

impl IdempotencyKey {
    /// The longest key, in characters, quotes and escapes not counted.
    pub const MAX_LEN: usize = 255;

    /// Reads the value of an `Idempotency-Key` header: bare, or a quoted string as RFC 8941 §3.3.3 writes it.
    /// # Errors
    /// [`KeyError`], each for its own reason.
    pub fn from_header(value: &[u8]) -> Result<Self, KeyError> {
        let key = match value.trim_ascii() {
            [b'"', quoted @ ..] => unquote(quoted)?,
            bare => bare.to_vec(),
        };
        match key.len() {
            0 => return Err(KeyError::Empty),
            1..=Self::MAX_LEN => {}
            _ => return Err(KeyError::TooLong),
        }
        if !key.iter().all(u8::is_ascii_graphic) {
            return Err(KeyError::NotVisibleAscii);
        }
        String::from_utf8(key).map(Self).map_err(|_| KeyError::NotVisibleAscii)
    }

    /// The key, without quotes and escapes.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The content of a quoted string whose opening quote is already gone.
fn unquote(quoted: &[u8]) -> Result<Vec<u8>, KeyError> {
    let mut content = Vec::with_capacity(quoted.len());
    let mut rest = quoted.iter();
    loop {
        match rest.next() {
            Some(b'"') if rest.as_slice().is_empty() => return Ok(content),
            Some(b'\\') => match rest.next() {
                Some(&escaped @ (b'"' | b'\\')) => content.push(escaped),
                _ => return Err(KeyError::BadQuoting),
            },
            None | Some(b'"') => return Err(KeyError::BadQuoting),
            Some(&plain) => content.push(plain),
        }
    }
}

/// Says whether two requests under one key are the same request. An HMAC, so that a stored fingerprint can't be used to
/// guess an amount or a number.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// A fingerprint as it was stored.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes, for storing.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

/// Makes fingerprints: HMAC-SHA256 under the pepper.
#[derive(Clone, Debug)]
pub struct Fingerprinter {
    key: hmac::Key, // its Debug names the algorithm alone
}

impl Fingerprinter {
    /// Keeps this use of the pepper apart from every other one.
    const PURPOSE: &[u8] = b"scanback idempotency fingerprint 1";

    /// Fingerprints under `pepper`, the setting `secrets.pepper`.
    #[must_use]
    pub fn new(pepper: &[u8]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, pepper) }
    }

    /// The fingerprint of a request. `fields` are (name, canonical value) of everything that changes what the request
    /// means: no PIN, an image by its digest, an absent field left out. Their order doesn't matter; that of several
    /// fields with one name does.
    #[must_use]
    pub fn fingerprint(&self, method: &str, path: &str, fields: &[(&str, &[u8])]) -> Fingerprint {
        let mut fields = fields.to_vec();
        fields.sort_by_key(|(name, _)| *name); // stable
        let mut tag = hmac::Context::with_key(&self.key);
        let mut part = |bytes: &[u8]| {
            // the length first: without it ("ab", "c") and ("a", "bc") would be the same request
            tag.update(&(bytes.len() as u64).to_be_bytes());
            tag.update(bytes);
        };
        part(Self::PURPOSE);
        part(method.as_bytes());
        part(path.as_bytes());
        for (name, value) in fields {
            part(name.as_bytes());
            part(value);
        }
        let mut bytes = [0; 32];
        bytes.copy_from_slice(tag.sign().as_ref()); // SHA-256 gives 32 bytes
        Fingerprint(bytes)
    }
}

/// The first answer given under a key, repeated by every replay. Its body may hold a note: it is shown to the merchant
/// whose key it is, and to nobody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAnswer {
    /// Its status.
    pub status: StoredStatus,
    /// Its body, as sent.
    pub body: String,
    /// Its `Location`, where it had one.
    pub location: Option<String>,
}

/// The statuses that are kept: once a refund exists, nothing else answers its key (contract §4 rule 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoredStatus {
    /// 201: the refund was final.
    Created,
    /// 202: it was not yet.
    Accepted,
}

impl StoredStatus {
    /// The status of this number; `None` for those that are never kept.
    #[must_use]
    pub const fn from_code(code: u16) -> Option<Self> {
        match code {
            201 => Some(Self::Created),
            202 => Some(Self::Accepted),
            _ => None,
        }
    }

    /// The number.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::Created => 201,
            Self::Accepted => 202,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_key_is_the_same_bare_and_quoted() {
        let long = "k".repeat(255);
        for (header, key) in [
            ("8e03978e-40d5", "8e03978e-40d5"),
            (r#""8e03978e-40d5""#, "8e03978e-40d5"),
            (" \t abc ", "abc"),
            (r#""a\"b\\c""#, r#"a"b\c"#),
            (r#"a"b"#, r#"a"b"#),
            ("!~", "!~"),
            (&long, &long),
            (&format!("\"{long}\""), &long),
        ] {
            assert_eq!(IdempotencyKey::from_header(header.as_bytes()).unwrap().as_str(), key, "{header}");
        }
    }

    #[test]
    fn what_is_no_key_is_refused_with_its_reason() {
        let long = "k".repeat(256);
        for (header, reason) in [
            ("", KeyError::Empty),
            ("   ", KeyError::Empty),
            (r#""""#, KeyError::Empty),
            (&long, KeyError::TooLong),
            (&format!("\"{long}\""), KeyError::TooLong),
            ("a b", KeyError::NotVisibleAscii),
            (r#""a b""#, KeyError::NotVisibleAscii),
            ("a\tb", KeyError::NotVisibleAscii),
            ("键", KeyError::NotVisibleAscii),
            ("a\u{7f}", KeyError::NotVisibleAscii),
            (r#"""#, KeyError::BadQuoting),
            (r#""abc"#, KeyError::BadQuoting),
            (r#""abc\"#, KeyError::BadQuoting),
            (r#""a\bc""#, KeyError::BadQuoting),
            (r#""abc";p=1"#, KeyError::BadQuoting),
            (r#""a""b""#, KeyError::BadQuoting),
        ] {
            assert_eq!(IdempotencyKey::from_header(header.as_bytes()), Err(reason), "{header}");
        }
        assert_eq!(IdempotencyKey::from_header(b"a\xff"), Err(KeyError::NotVisibleAscii));
    }

    #[test]
    fn a_fingerprint_tells_every_part_apart() {
        let printer = Fingerprinter::new(b"pepper");
        let print = |method, path, fields: &[(&str, &[u8])]| printer.fingerprint(method, path, fields).to_string();
        let all = [
            print("POST", "/v1/refunds", &[("amount", b"100"), ("reason", b"other")]),
            print("PUT", "/v1/refunds", &[("amount", b"100"), ("reason", b"other")]),
            print("POST", "/v1/refund", &[("amount", b"100"), ("reason", b"other")]),
            print("POST", "/v1/refunds", &[("amount", b"101"), ("reason", b"other")]),
            print("POST", "/v1/refunds", &[("amount", b"100")]),
            print("POST", "/v1/refunds", &[("amount", b"100"), ("reason", b"")]),
            print("POST", "/v1/refunds", &[("amount", b"10"), ("0reason", b"other")]),
            print("POST", "/v1/refunds", &[("amount", b"100reason"), ("", b"other")]),
            Fingerprinter::new(b"salt")
                .fingerprint("POST", "/v1/refunds", &[("amount", b"100"), ("reason", b"other")])
                .to_string(),
        ];
        let distinct: std::collections::HashSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
    }

    #[test]
    fn a_fingerprint_never_changes_between_versions() {
        // a replay after an upgrade must still be a replay; computed once with Python's hmac module
        let print = Fingerprinter::new(b"pepper").fingerprint("POST", "/v1/refunds", &[("b", b"2"), ("a", b"1")]);
        assert_eq!(print.to_string(), "51221c6d904d09850072e74cfbfa02073fe7e8e056a018b1ab3c97be6dfe26a6");
        assert_eq!(Fingerprint::from_bytes(*print.as_bytes()), print);
    }

    proptest! {
        #[test]
        fn every_visible_text_survives_quoting(key in "[!-~]{1,255}") {
            let quoted = format!("\"{}\"", key.replace('\\', "\\\\").replace('"', "\\\""));
            let expected = IdempotencyKey(key.clone());
            prop_assert_eq!(IdempotencyKey::from_header(quoted.as_bytes()), Ok(expected.clone()));
            if !key.starts_with('"') {
                prop_assert_eq!(IdempotencyKey::from_header(key.as_bytes()), Ok(expected));
            }
        }

        #[test]
        fn any_bytes_are_a_key_or_an_error_and_never_a_crash(header in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(key) = IdempotencyKey::from_header(&header) {
                prop_assert!((1..=255).contains(&key.as_str().len()));
            }
        }
    }
}
