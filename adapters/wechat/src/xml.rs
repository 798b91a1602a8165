//! The XML of the old API (APIv2), read with distrust: one root, flat fields, no declarations of types or entities.
//!
//! A general XML reader would have to be told what not to do. This one can't: there is no code that opens a file, follows
//! an address, or replaces one text by a longer one. Source: wechat-pay §17.

use std::collections::BTreeMap;

/// Largest document, in bytes. Real ones have about a thousand.
const MAX_BYTES: usize = 64 * 1024;
/// Most fields.
const MAX_FIELDS: usize = 200;

/// Why a text is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum XmlError {
    #[error("it is too long")]
    TooLong,
    #[error("it declares a document type or entities")]
    Declares,
    #[error("a field comes twice")]
    Twice,
    #[error("it is no flat XML document")]
    Malformed,
}

/// The fields of `<xml>…</xml>`, by name.
pub(crate) fn read(bytes: &[u8]) -> Result<BTreeMap<String, String>, XmlError> {
    if bytes.len() > MAX_BYTES {
        return Err(XmlError::TooLong);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| XmlError::Malformed)?;
    let mut rest = text.trim_start_matches('\u{feff}').trim();
    if let Some(after) = rest.strip_prefix("<?xml ") {
        rest = after.split_once("?>").ok_or(XmlError::Malformed)?.1.trim_start();
    }
    if ["<!DOCTYPE", "<!ENTITY", "<!doctype"].iter().any(|word| rest.contains(word)) {
        return Err(XmlError::Declares);
    }
    rest = rest.strip_prefix("<xml>").ok_or(XmlError::Malformed)?;
    let mut fields = BTreeMap::new();
    loop {
        rest = rest.trim_start();
        if let Some(end) = rest.strip_prefix("</xml>") {
            return if end.trim().is_empty() { Ok(fields) } else { Err(XmlError::Malformed) };
        }
        let (name, value, after) = field(rest)?;
        if fields.len() == MAX_FIELDS {
            return Err(XmlError::TooLong);
        }
        if fields.insert(name.to_owned(), value).is_some() {
            return Err(XmlError::Twice); // two readers could take two values for it
        }
        rest = after;
    }
}

/// `<name>value</name>` or `<name/>`, and what comes after it.
fn field(text: &str) -> Result<(&str, String, &str), XmlError> {
    let inside = text.strip_prefix('<').ok_or(XmlError::Malformed)?;
    let (tag, after) = inside.split_once('>').ok_or(XmlError::Malformed)?;
    let is_name =
        |name: &str| (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if let Some(name) = tag.strip_suffix('/').map(str::trim_end) {
        return if is_name(name) { Ok((name, String::new(), after)) } else { Err(XmlError::Malformed) };
    }
    if !is_name(tag) {
        return Err(XmlError::Malformed); // attributes, comments and instructions are nothing that the wallet sends
    }
    let mut value = String::new();
    let mut rest = after;
    loop {
        let at = rest.find('<').ok_or(XmlError::Malformed)?;
        unescape(&rest[..at], &mut value)?;
        rest = &rest[at..];
        if let Some(data) = rest.strip_prefix("<![CDATA[") {
            let (data, after) = data.split_once("]]>").ok_or(XmlError::Malformed)?;
            value.push_str(data);
            rest = after;
            continue;
        }
        let closed =
            rest.strip_prefix("</").and_then(|end| end.strip_prefix(tag)).and_then(|end| end.strip_prefix('>'));
        return Ok((tag, value, closed.ok_or(XmlError::Malformed)?)); // anything nested ends here
    }
}

/// The five entities of XML itself, and characters by number.
fn unescape(text: &str, into: &mut String) -> Result<(), XmlError> {
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        into.push_str(&rest[..at]);
        let (name, after) = rest[at + 1..].split_once(';').ok_or(XmlError::Malformed)?;
        into.push(match name {
            "lt" => '<',
            "gt" => '>',
            "amp" => '&',
            "quot" => '"',
            "apos" => '\'',
            _ => number(name).ok_or(XmlError::Malformed)?,
        });
        rest = after;
    }
    into.push_str(rest);
    Ok(())
}

fn number(name: &str) -> Option<char> {
    let digits = name.strip_prefix('#').filter(|digits| digits.len() <= 8)?;
    let code = match digits.strip_prefix('x') {
        Some(hex) => u32::from_str_radix(hex, 16).ok()?,
        None => digits.parse().ok()?,
    };
    char::from_u32(code)
}

/// Writes fields as WeChat's own tools do. A value holds no `]]>`: it would end its CDATA.
pub(crate) fn write(fields: &BTreeMap<String, String>) -> String {
    let mut text = String::from("<xml>");
    for (name, value) in fields {
        let value = value.replace("]]>", "]]]]><![CDATA[>");
        text.push_str(&format!("<{name}><![CDATA[{value}]]></{name}>"));
    }
    text.push_str("</xml>");
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fields(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn what_the_wallet_sends_is_read() {
        let text = "\u{feff}<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<xml><a><![CDATA[1 < 2 & <b>]]></a>\n <b>x &amp; y &#x4E2D;&#22269;</b><c/><d></d><e>1<![CDATA[2]]>3</e></xml>\n";
        let expected = fields(&[("a", "1 < 2 & <b>"), ("b", "x & y 中国"), ("c", ""), ("d", ""), ("e", "123")]);
        assert_eq!(read(text.as_bytes()), Ok(expected));
    }

    #[test]
    fn what_is_written_is_read_again() {
        let all = fields(&[("a", "]]>"), ("b", "<&>\"'"), ("c", "咖啡 ]] >")]);
        assert_eq!(read(write(&all).as_bytes()), Ok(all));
    }

    #[test]
    fn attacks_are_refused_before_anything_is_done() {
        let laughs = "<!DOCTYPE xml [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;\">]><xml><x>&b;</x></xml>";
        let outside = "<!DOCTYPE xml [<!ENTITY f SYSTEM \"file:///etc/passwd\">]><xml><x>&f;</x></xml>";
        for (text, error) in [
            (laughs, XmlError::Declares),
            (outside, XmlError::Declares),
            ("<xml><x>&f;</x></xml>", XmlError::Malformed),
            ("<xml><x>&#0;&#xD800;</x></xml>", XmlError::Malformed),
            ("<xml><x>&#99999999999;</x></xml>", XmlError::Malformed),
            ("<xml><x><y>1</y></x></xml>", XmlError::Malformed),
            ("<xml><x a=\"1\">1</x></xml>", XmlError::Malformed),
            ("<xml><!-- --><x>1</x></xml>", XmlError::Malformed),
            ("<xml><?php x?></xml>", XmlError::Malformed),
            ("<xml><x>1</x><x>2</x></xml>", XmlError::Twice),
            ("<xml><x>1</x>", XmlError::Malformed),
            ("<xml><x>1</y></xml>", XmlError::Malformed),
            ("<xml></xml><xml></xml>", XmlError::Malformed),
            ("<html></html>", XmlError::Malformed),
            ("", XmlError::Malformed),
            ("<xml><x><![CDATA[1</x></xml>", XmlError::Malformed),
        ] {
            assert_eq!(read(text.as_bytes()), Err(error), "{text}");
        }
        assert_eq!(read(&vec![b' '; MAX_BYTES + 1]), Err(XmlError::TooLong));
        assert_eq!(read(&[0xff, 0xfe]), Err(XmlError::Malformed));
        let many: String = (0..=MAX_FIELDS).map(|at| format!("<f{at}>1</f{at}>")).collect();
        assert_eq!(read(format!("<xml>{many}</xml>").as_bytes()), Err(XmlError::TooLong));
    }

    proptest! {
        /// No bytes make it panic, and what it takes is what it writes.
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop_oneof![
            any::<Vec<u8>>(),
            "(<xml>)?(<[a-c]/?>|</[a-c]>|<!\\[CDATA\\[|\\]\\]>|&[a-z#0-9]{0,4};|[ -~]){0,12}(</xml>)?".prop_map(String::into_bytes),
        ]) {
            if let Ok(fields) = read(&bytes) {
                prop_assert_eq!(read(write(&fields).as_bytes()), Ok(fields));
            }
        }

        /// Whatever the values are, they come back.
        #[test]
        fn any_text_survives(fields in prop::collection::btree_map("[a-z_]{1,8}", any::<String>(), 0..6)) {
            let fields: BTreeMap<String, String> = fields;
            prop_assert_eq!(read(write(&fields).as_bytes()), Ok(fields));
        }
    }
}
