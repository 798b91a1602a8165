//! Keys and certificates as people paste them: PEM, or the bare base64 that Alipay's key tool hands out (alipay §2).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

/// One DER text of a file, and what its PEM line calls it.
pub(crate) struct Block<'a> {
    /// `PRIVATE KEY`, `CERTIFICATE`, …; `None` for bare base64.
    pub(crate) label: Option<&'a str>,
    /// The bytes; `None` where the base64 is broken. Wiped when dropped, for it may be a private key.
    pub(crate) der: Option<Zeroizing<Vec<u8>>>,
}

/// The blocks of a file, in its order. A broken one is kept as such: a bundle stays readable around it (alipay §4).
pub(crate) fn blocks(text: &str) -> Vec<Block<'_>> {
    const BEGIN: &str = "-----BEGIN ";
    if !text.contains(BEGIN) {
        return vec![Block { label: None, der: decode(text) }];
    }
    let mut blocks = Vec::new();
    for part in text.split(BEGIN).skip(1) {
        let Some((label, rest)) = part.split_once("-----") else { continue };
        let body = rest.split_once("-----END").map_or("", |(body, _)| body);
        blocks.push(Block { label: Some(label), der: decode(body) });
    }
    blocks
}

fn decode(base64: &str) -> Option<Zeroizing<Vec<u8>>> {
    let packed: Zeroizing<String> = Zeroizing::new(base64.chars().filter(|c| !c.is_whitespace()).collect());
    let der = Zeroizing::new(STANDARD.decode(packed.as_bytes()).ok()?);
    (!der.is_empty()).then_some(der)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(Option<&str>, Option<Vec<u8>>)> {
        blocks(text).into_iter().map(|block| (block.label, block.der.map(|der| der.to_vec()))).collect()
    }

    #[test]
    fn bare_base64_and_pem_give_the_same_bytes() {
        assert_eq!(read(" AAEC\nAwQ=\r\n"), [(None, Some(vec![0, 1, 2, 3, 4]))]);
        let pem = "note\n-----BEGIN A B-----\r\nAAEC\r\nAwQ=\r\n-----END A B-----\n";
        assert_eq!(read(pem), [(Some("A B"), Some(vec![0, 1, 2, 3, 4]))]);
    }

    #[test]
    fn a_broken_block_does_not_hide_its_neighbours() {
        let pem = "-----BEGIN X-----\nAA==\n-----END X-----\n-----BEGIN X-----\n!!\n-----END X-----\n\
                   -----BEGIN X-----\nAQ==\n-----END X-----\n-----BEGIN X-----\ncut off";
        let ders: Vec<_> = read(pem).into_iter().map(|(_, der)| der).collect();
        assert_eq!(ders, [Some(vec![0]), None, Some(vec![1]), None]);
        assert_eq!(read(""), [(None, None)]);
    }
}
