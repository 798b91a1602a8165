//! Content encryption: AES-128-CBC, PKCS#7, an IV of zeros (alipay §5). Weak by the wallet's own design; only the mock
//! uses it here.

use aws_lc_rs::{
    cipher::{
        AES_128, DecryptionContext, EncryptionContext, PaddedBlockDecryptingKey, PaddedBlockEncryptingKey,
        UnboundCipherKey,
    },
    iv::FixedLength,
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};

use crate::keys::KeyError;

const IV: [u8; 16] = [0; 16];

fn failed<E>(_: E) -> KeyError {
    KeyError::Library("AES-128-CBC".to_owned())
}

fn unbound(key: &str) -> Result<UnboundCipherKey, KeyError> {
    UnboundCipherKey::new(&AES_128, &BASE64.decode(key).map_err(failed)?).map_err(failed)
}

/// Encrypts to base64; `key` is base64 of 16 bytes.
pub(super) fn encrypt(key: &str, text: &str) -> Result<String, KeyError> {
    let key = PaddedBlockEncryptingKey::cbc_pkcs7(unbound(key)?).map_err(failed)?;
    let mut bytes = text.as_bytes().to_vec();
    key.less_safe_encrypt(&mut bytes, EncryptionContext::Iv128(FixedLength::from(IV))).map_err(failed)?;
    Ok(BASE64.encode(bytes))
}

/// Decrypts base64; `None` where it is not a text under this key.
pub(super) fn decrypt(key: &str, text: &str) -> Option<String> {
    let key = PaddedBlockDecryptingKey::cbc_pkcs7(unbound(key).ok()?).ok()?;
    let mut bytes = BASE64.decode(text).ok()?;
    let plain = key.decrypt(&mut bytes, DecryptionContext::Iv128(FixedLength::from(IV))).ok()?;
    String::from_utf8(plain.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::{self, text};

    #[test]
    fn the_known_text_is_encrypted_and_decrypted() {
        let known = &vectors::of("alipay")["aes"];
        let (key, plain, sealed) = (text(&known["key_base64"]), text(&known["plaintext"]), text(&known["ciphertext"]));
        assert_eq!(encrypt(key, plain).unwrap(), sealed);
        assert_eq!(decrypt(key, sealed).unwrap(), plain);
    }

    #[test]
    fn what_is_encrypted_is_decrypted_and_a_wrong_text_is_refused() {
        let key = BASE64.encode([7; 16]);
        let sealed = encrypt(&key, "{\"a\":\"值\"}").unwrap();
        assert_eq!(decrypt(&key, &sealed).unwrap(), "{\"a\":\"值\"}");
        assert_eq!(encrypt(&key, "{\"a\":\"值\"}").unwrap(), sealed, "the IV is fixed");
        assert_eq!(decrypt(&key, "AAAA"), None);
        assert_eq!(decrypt(&BASE64.encode([8; 16]), &sealed).as_deref().filter(|text| text.contains('值')), None);
    }
}
