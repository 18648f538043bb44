//! PEM certificates, as far as text can tell: block marks, base64, and one DER sequence per block. Whoever uses them reads them whole.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{Findings, Problem};

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// Adds a finding when a text is not one or more certificates.
pub(super) fn check(path: &str, pem: &str, findings: &mut Findings) {
    if let Err(reason) = certificates(pem) {
        findings.add(path, Problem::NotCertificates { reason });
    }
}

/// How many certificates there are; at least one.
fn certificates(pem: &str) -> Result<usize, &'static str> {
    if pem.contains("PRIVATE KEY-----") {
        return Err("it holds a private key, which must not leave its owner");
    }
    let mut count = 0;
    let mut rest = pem;
    while let Some((_, after)) = rest.split_once(BEGIN) {
        let (body, after) = after.split_once(END).ok_or("a certificate has no end")?;
        let der = STANDARD.decode(body.split_whitespace().collect::<String>()).map_err(|_| "a certificate is not base64")?;
        if !is_one_sequence(&der) {
            return Err("a certificate is cut off or is none");
        }
        (count, rest) = (count + 1, after);
    }
    if count == 0 { Err("it holds no certificate") } else { Ok(count) }
}

/// One DER SEQUENCE that ends where the bytes end.
fn is_one_sequence(der: &[u8]) -> bool {
    let [0x30, length, rest @ ..] = der else { return false };
    match length {
        0..=0x7f => rest.len() == usize::from(*length),
        0x81..=0x83 => {
            let digits = usize::from(length & 0x7f);
            rest.split_at_checked(digits).is_some_and(|(length, content)| {
                content.len() == length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte))
            })
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(der: &[u8]) -> String {
        format!("{BEGIN}\n{}\n{END}\n", STANDARD.encode(der))
    }

    #[test]
    fn certificates_are_counted_and_everything_else_is_refused_by_reason() {
        let one = block(&[0x30, 2, 5, 0]);
        assert_eq!(certificates(&one), Ok(1));
        assert_eq!(certificates(&format!("# CA\n{one}{one}")), Ok(2));
        let long: Vec<u8> = [&[0x30, 0x82, 1, 0][..], &[0; 256]].concat();
        assert_eq!(certificates(&block(&long)), Ok(1));
        for bad in [
            "".to_owned(),
            "hello".into(),
            one.replace(END, ""),
            one.replace("MA", "M!"),
            block(&long[..200]),
            block(&[0x31, 0]),
            block(&[]),
            format!("{one}-----BEGIN PRIVATE KEY-----\n"),
        ] {
            assert!(certificates(&bad).is_err(), "{bad}");
        }
    }
}
