//! Content encryption (接口内容加密): AES-128-CBC with PKCS#7 under an IV of zeros, in base64. Source: alipay §5.
//!
//! The scheme authenticates nothing and always gives the same ciphertext: it hides what calls say from whoever stands in
//! between, and the RSA2 signature around it, verified before anything is decrypted, is what proves.

use std::fmt;

use aws_lc_rs::{
    cipher::{
        AES_128, DecryptionContext, EncryptionContext, PaddedBlockDecryptingKey, PaddedBlockEncryptingKey,
        UnboundCipherKey,
    },
    iv::FixedLength,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

/// The key as the console hands it out: base64 of 16 bytes. Shows nothing in `Debug`.
pub struct ContentKey(Zeroizing<[u8; 16]>);

impl fmt::Debug for ContentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ContentKey(hidden)")
    }
}

impl ContentKey {
    /// Reads base64 of 16 bytes; `None` for anything else.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let bytes = Zeroizing::new(STANDARD.decode(text.trim()).ok()?);
        Some(Self(Zeroizing::new(bytes.as_slice().try_into().ok()?)))
    }

    fn unbound(&self) -> Option<UnboundCipherKey> {
        UnboundCipherKey::new(&AES_128, self.0.as_slice()).ok()
    }

    /// `None` only if the crypto library fails.
    pub(crate) fn seal(&self, text: &str) -> Option<String> {
        let key = PaddedBlockEncryptingKey::cbc_pkcs7(self.unbound()?).ok()?;
        let mut sealed = text.as_bytes().to_vec();
        key.less_safe_encrypt(&mut sealed, EncryptionContext::Iv128(FixedLength::from([0; 16]))).ok()?;
        Some(STANDARD.encode(sealed))
    }

    /// `None` for what this key didn't seal, as far as padding and encoding tell.
    pub(crate) fn open(&self, sealed: &str) -> Option<String> {
        let key = PaddedBlockDecryptingKey::cbc_pkcs7(self.unbound()?).ok()?;
        let mut bytes = Zeroizing::new(STANDARD.decode(sealed).ok()?);
        let zeros = DecryptionContext::Iv128(FixedLength::from([0; 16]));
        let text = key.decrypt(&mut bytes, zeros).ok()?;
        std::str::from_utf8(text).ok().map(str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[test]
    fn the_vector_is_sealed_and_opened_byte_for_byte() {
        let case = fixtures::vectors()["aes"].clone();
        let key = ContentKey::read(case["key_base64"].as_str().unwrap()).unwrap();
        let (plain, sealed) = (case["plaintext"].as_str().unwrap(), case["ciphertext"].as_str().unwrap());
        assert_eq!(key.seal(plain).as_deref(), Some(sealed));
        assert_eq!(key.open(sealed).as_deref(), Some(plain));
    }

    #[test]
    fn what_is_altered_cut_or_under_another_key_is_not_opened() {
        let case = fixtures::vectors()["aes"].clone();
        let key = ContentKey::read(case["key_base64"].as_str().unwrap()).unwrap();
        let sealed = case["ciphertext"].as_str().unwrap();
        let other = ContentKey::read("AAAAAAAAAAAAAAAAAAAAAA==").unwrap();
        assert_eq!(other.open(sealed), None);
        for text in ["", "AAAA", "not base64", &sealed[..40]] {
            assert_eq!(key.open(text), None, "{text}");
        }
        for text in ["", "AAAA", &"A".repeat(44), "%%"] {
            assert!(ContentKey::read(text).is_none(), "{text}");
        }
        assert_eq!(format!("{key:?}"), "ContentKey(hidden)");
    }
}
