//! Reed-Solomon over GF(256) as QR codes have it (polynomial 0x11D, first root 1), with erasures: a codeword known to be
//! doubtful costs one check codeword, one that is wrong without warning costs two.
//!
//! Berlekamp-Massey started from the erasure locator, Chien search, Forney (Blahut, "Algebraic Codes for Data
//! Transmission", 7.5).

const POLYNOMIAL: u16 = 0x11D;

struct Field {
    exp: [u8; 510],
    log: [u8; 256],
}

const FIELD: Field = {
    let (mut exp, mut log) = ([0; 510], [0; 256]);
    let (mut value, mut power) = (1_u16, 0);
    while power < 255 {
        exp[power] = value as u8;
        exp[power + 255] = value as u8;
        log[value as usize] = power as u8;
        value <<= 1;
        if value & 0x100 != 0 {
            value ^= POLYNOMIAL;
        }
        power += 1;
    }
    Field { exp, log }
};

fn times(a: u8, b: u8) -> u8 {
    if a == 0 || b == 0 {
        return 0;
    }
    FIELD.exp[usize::from(FIELD.log[usize::from(a)]) + usize::from(FIELD.log[usize::from(b)])]
}

fn inverse(a: u8) -> u8 {
    FIELD.exp[255 - usize::from(FIELD.log[usize::from(a)])]
}

fn power(exponent: usize) -> u8 {
    FIELD.exp[exponent % 255]
}

/// The value of a polynomial, lowest coefficient first.
fn value(polynomial: &[u8], at: u8) -> u8 {
    polynomial.iter().rev().fold(0, |sum, &coefficient| times(sum, at) ^ coefficient)
}

fn product(a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut product = vec![0; (a.len() + b.len()).saturating_sub(1)];
    for (i, &x) in a.iter().enumerate() {
        for (j, &y) in b.iter().enumerate() {
            product[i + j] ^= times(x, y);
        }
    }
    product
}

/// Corrects `block`, whose last `checks` codewords are the check, in place: codewords at `erased` may have any value.
///
/// Returns how many codewords outside `erased` were changed; `None`, and the block as it was, where it can't be corrected.
/// Of a random block with s erasures and room for e errors it "corrects" up to about 256^(s + 2e - checks) of all: callers
/// that keep less than two codewords in reserve need other evidence.
pub(super) fn correct(block: &mut [u8], checks: usize, erased: &[usize]) -> Option<usize> {
    if erased.len() > checks || block.len() > 255 || checks >= block.len() {
        return None;
    }
    let syndromes: Vec<u8> =
        (0..checks).map(|root| block.iter().fold(0, |sum, &codeword| times(sum, power(root)) ^ codeword)).collect();
    if syndromes.iter().all(|&syndrome| syndrome == 0) {
        return Some(0);
    }
    // Position p of the block has locator 2^(n - 1 - p).
    let last = block.len() - 1;
    let locator_of = |position: usize| power(last - position);
    let mut locator = vec![1];
    for &position in erased {
        locator = product(&locator, &[1, locator_of(position)]);
    }
    let mut before = locator.clone();
    let mut errors = erased.len();
    for round in erased.len()..checks {
        before.insert(0, 0);
        let discrepancy =
            (0..locator.len().min(round + 1)).fold(0, |sum, at| sum ^ times(locator[at], syndromes[round - at]));
        if discrepancy == 0 {
            continue;
        }
        let length = locator.len().max(before.len());
        let mut next = locator.clone();
        next.resize(length, 0);
        for (to, &from) in next.iter_mut().zip(&before) {
            *to ^= times(discrepancy, from);
        }
        if 2 * errors <= round + erased.len() {
            errors = round + 1 + erased.len() - errors;
            before = locator.iter().map(|&one| times(one, inverse(discrepancy))).collect();
        }
        locator = next;
    }
    while locator.last() == Some(&0) {
        locator.pop();
    }
    let degree = locator.len() - 1;
    if degree == 0 || 2 * degree > checks + erased.len() {
        return None;
    }
    let positions: Vec<usize> =
        (0..block.len()).filter(|&position| value(&locator, inverse(locator_of(position))) == 0).collect();
    if positions.len() != degree {
        return None;
    }
    let mut evaluator = product(&syndromes, &locator);
    evaluator.truncate(checks);
    // The formal derivative keeps the odd powers, one lower.
    let derivative: Vec<u8> =
        locator.iter().enumerate().skip(1).map(|(at, &one)| if at % 2 == 1 { one } else { 0 }).collect();
    let before = block.to_vec();
    for &position in &positions {
        let here = locator_of(position);
        let slope = value(&derivative, inverse(here));
        if slope == 0 {
            return None;
        }
        block[position] ^= times(here, times(value(&evaluator, inverse(here)), inverse(slope)));
    }
    let wrong = (0..checks).any(|root| block.iter().fold(0, |sum, &codeword| times(sum, power(root)) ^ codeword) != 0);
    if wrong {
        block.copy_from_slice(&before);
        return None;
    }
    Some(
        positions
            .iter()
            .filter(|&&position| before[position] != block[position] && !erased.contains(&position))
            .count(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Version 1-M with the data of ISO/IEC 18004, annex I ("01234567").
    const EXAMPLE: [u8; 26] = [
        0x10, 0x20, 0x0C, 0x56, 0x61, 0x80, 0xEC, 0x11, 0xEC, 0x11, 0xEC, 0x11, 0xEC, 0x11, 0xEC, 0x11, 0xA5, 0x24,
        0xD4, 0xC1, 0xED, 0x36, 0xC7, 0x87, 0x2C, 0x55,
    ];

    fn spoilt(positions: &[usize]) -> [u8; 26] {
        let mut block = EXAMPLE;
        for (nth, &position) in positions.iter().enumerate() {
            block[position] ^= 0x5B_u8.wrapping_add((nth as u8).wrapping_mul(37)) | 1;
        }
        block
    }

    #[test]
    fn the_standards_example_is_whole() {
        assert_eq!(correct(&mut EXAMPLE.clone(), 10, &[]), Some(0));
    }

    #[test]
    fn every_mix_of_errors_and_erasures_within_the_checks_is_corrected() {
        let order = [3, 25, 0, 17, 9, 11, 22, 5, 14, 1];
        for erasures in 0..=10 {
            for errors in 0..=(10 - erasures) / 2 {
                let mut block = spoilt(&order[..erasures + errors]);
                assert_eq!(correct(&mut block, 10, &order[..erasures]), Some(errors), "{erasures} + 2 * {errors}");
                assert_eq!(block, EXAMPLE);
            }
        }
    }

    #[test]
    fn an_erasure_that_was_right_does_no_harm() {
        let mut block = spoilt(&[4, 7]);
        assert_eq!(correct(&mut block, 10, &[0, 4, 7, 20]), Some(0));
        assert_eq!(block, EXAMPLE);
    }

    #[test]
    fn beyond_the_checks_the_block_stays_as_it_was_or_becomes_another_whole_one() {
        let (mut refused, order) = (0, [3, 25, 0, 17, 9, 11, 22, 5, 14, 1]);
        for shift in 0..16 {
            let spoilt_at: Vec<usize> = order.iter().map(|at| (at + shift) % 26).take(7).collect();
            let block = spoilt(&spoilt_at);
            let mut tried = block;
            match correct(&mut tried, 10, &[]) {
                None => {
                    assert_eq!(tried, block);
                    refused += 1;
                }
                Some(_) => assert_eq!(correct(&mut tried.clone(), 10, &[]), Some(0)),
            }
        }
        assert!(refused >= 15, "{refused}");
        assert_eq!(correct(&mut spoilt(&order), 10, &[0; 11]), None);
    }
}
