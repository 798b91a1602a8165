//! The numbers that Alipay knows certificates by (alipay §4). They are no serial numbers: each is an MD5 over issuer and
//! serial, spelled Alipay's way.

use md5::{Digest as _, Md5};
use x509_parser::{
    oid_registry::asn1_rs::{Oid, oid},
    prelude::X509Certificate,
    x509::X509Name,
};

/// The signature algorithms of the RSA family, PKCS #1.
const PKCS1: &str = "1.2.840.113549.1.1.";

/// The number of one certificate. `None` where its issuer has a part that the rule has no spelling for.
pub(crate) fn sn(certificate: &X509Certificate<'_>) -> Option<String> {
    Some(digest(&issuer(certificate.issuer())?, &certificate.serial.to_string()))
}

/// The number of a root bundle: those of its RSA members, in file order, joined by `_`. `None` where it has none.
pub(crate) fn root_sn(bundle: &[X509Certificate<'_>]) -> Option<String> {
    let sns: Vec<String> = bundle.iter().filter(|member| is_rsa(member)).filter_map(sn).collect();
    (!sns.is_empty()).then(|| sns.join("_"))
}

fn is_rsa(certificate: &X509Certificate<'_>) -> bool {
    certificate.signature_algorithm.algorithm.to_id_string().starts_with(PKCS1)
}

fn digest(issuer: &str, decimal_serial: &str) -> String {
    let mut md5 = Md5::new();
    md5.update(issuer);
    md5.update(decimal_serial);
    hex::encode(md5.finalize())
}

/// `CN=…,OU=…,O=…,C=…`: the parts in reverse of their order in the certificate.
fn issuer(name: &X509Name<'_>) -> Option<String> {
    let mut parts = Vec::new();
    for attribute in name.iter_attributes() {
        parts.push(format!("{}={}", short_name(attribute.attr_type())?, attribute.as_str().ok()?));
    }
    parts.reverse();
    Some(parts.join(","))
}

fn short_name(attribute: &Oid<'_>) -> Option<&'static str> {
    let names = [
        (oid!(2.5.4.3), "CN"),
        (oid!(2.5.4.11), "OU"),
        (oid!(2.5.4.10), "O"),
        (oid!(2.5.4.6), "C"),
        (oid!(2.5.4.7), "L"),
        (oid!(2.5.4.8), "ST"),
    ];
    names.into_iter().find(|(oid, _)| oid == attribute).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use x509_parser::prelude::FromDer as _;

    use super::*;
    use crate::{armour::blocks, fixtures};

    #[test]
    fn certificates_get_the_numbers_that_alipay_gives_them() {
        let stated = fixtures::vectors()["certificate_sn"].clone();
        for (file, entry) in [("app_cert.pem", "app_cert"), ("alipay_cert.pem", "alipay_cert_first_in_file")] {
            let text = fixtures::text(file);
            let blocks = blocks(&text);
            let der = blocks[0].der.as_ref().unwrap();
            let (_, certificate) = X509Certificate::from_der(der).unwrap();
            assert_eq!(sn(&certificate).unwrap(), stated[entry]["sn"], "{file}");
        }
    }

    #[test]
    fn the_root_number_leaves_out_what_is_not_rsa() {
        let stated = fixtures::vectors()["certificate_sn"]["root_bundle"].clone();
        let text = fixtures::text("alipay_root_cert.pem");
        let blocks = blocks(&text);
        let bundle: Vec<_> =
            blocks.iter().filter_map(|block| Some(X509Certificate::from_der(block.der.as_ref()?).ok()?.1)).collect();
        assert_eq!(bundle.len(), 3, "the EC member parses, so its algorithm is what leaves it out");
        assert_eq!(root_sn(&bundle).unwrap(), stated["sn"]);
        assert_eq!(root_sn(&bundle[1..2]), None);
    }

    /// Issuer and serial of Alipay's real certificates, as its own SDK's tests state them.
    #[test]
    fn the_numbers_of_alipays_real_certificates_come_out() {
        let published = fixtures::published();
        let entry = &published["vectors"][0];
        let members = entry["root"]["members"].as_array().unwrap();
        let mut checked = 0;
        for certificate in members.iter().chain([&entry["app_cert"], &entry["alipay_cert"]]) {
            let input = certificate["md5_input"].as_str().unwrap();
            let (issuer, serial) = input.split_once("C=CN").unwrap();
            assert_eq!(digest(&format!("{issuer}C=CN"), serial), certificate["sn"], "{input}");
            checked += 1;
        }
        assert_eq!(checked, 6);
    }
}
