//! The 107 patterns of Code 128, and what its characters mean. Source: ISO/IEC 15417.

/// Widths of bars and spaces in turns, in modules: 106 characters of six, of which 103 to 105 are the starts of the sets A,
/// B and C.
pub(in crate::scan) const WIDTHS: [[u8; 6]; 106] = [
    [2, 1, 2, 2, 2, 2],
    [2, 2, 2, 1, 2, 2],
    [2, 2, 2, 2, 2, 1],
    [1, 2, 1, 2, 2, 3],
    [1, 2, 1, 3, 2, 2],
    [1, 3, 1, 2, 2, 2],
    [1, 2, 2, 2, 1, 3],
    [1, 2, 2, 3, 1, 2],
    [1, 3, 2, 2, 1, 2],
    [2, 2, 1, 2, 1, 3],
    [2, 2, 1, 3, 1, 2],
    [2, 3, 1, 2, 1, 2],
    [1, 1, 2, 2, 3, 2],
    [1, 2, 2, 1, 3, 2],
    [1, 2, 2, 2, 3, 1],
    [1, 1, 3, 2, 2, 2],
    [1, 2, 3, 1, 2, 2],
    [1, 2, 3, 2, 2, 1],
    [2, 2, 3, 2, 1, 1],
    [2, 2, 1, 1, 3, 2],
    [2, 2, 1, 2, 3, 1],
    [2, 1, 3, 2, 1, 2],
    [2, 2, 3, 1, 1, 2],
    [3, 1, 2, 1, 3, 1],
    [3, 1, 1, 2, 2, 2],
    [3, 2, 1, 1, 2, 2],
    [3, 2, 1, 2, 2, 1],
    [3, 1, 2, 2, 1, 2],
    [3, 2, 2, 1, 1, 2],
    [3, 2, 2, 2, 1, 1],
    [2, 1, 2, 1, 2, 3],
    [2, 1, 2, 3, 2, 1],
    [2, 3, 2, 1, 2, 1],
    [1, 1, 1, 3, 2, 3],
    [1, 3, 1, 1, 2, 3],
    [1, 3, 1, 3, 2, 1],
    [1, 1, 2, 3, 1, 3],
    [1, 3, 2, 1, 1, 3],
    [1, 3, 2, 3, 1, 1],
    [2, 1, 1, 3, 1, 3],
    [2, 3, 1, 1, 1, 3],
    [2, 3, 1, 3, 1, 1],
    [1, 1, 2, 1, 3, 3],
    [1, 1, 2, 3, 3, 1],
    [1, 3, 2, 1, 3, 1],
    [1, 1, 3, 1, 2, 3],
    [1, 1, 3, 3, 2, 1],
    [1, 3, 3, 1, 2, 1],
    [3, 1, 3, 1, 2, 1],
    [2, 1, 1, 3, 3, 1],
    [2, 3, 1, 1, 3, 1],
    [2, 1, 3, 1, 1, 3],
    [2, 1, 3, 3, 1, 1],
    [2, 1, 3, 1, 3, 1],
    [3, 1, 1, 1, 2, 3],
    [3, 1, 1, 3, 2, 1],
    [3, 3, 1, 1, 2, 1],
    [3, 1, 2, 1, 1, 3],
    [3, 1, 2, 3, 1, 1],
    [3, 3, 2, 1, 1, 1],
    [3, 1, 4, 1, 1, 1],
    [2, 2, 1, 4, 1, 1],
    [4, 3, 1, 1, 1, 1],
    [1, 1, 1, 2, 2, 4],
    [1, 1, 1, 4, 2, 2],
    [1, 2, 1, 1, 2, 4],
    [1, 2, 1, 4, 2, 1],
    [1, 4, 1, 1, 2, 2],
    [1, 4, 1, 2, 2, 1],
    [1, 1, 2, 2, 1, 4],
    [1, 1, 2, 4, 1, 2],
    [1, 2, 2, 1, 1, 4],
    [1, 2, 2, 4, 1, 1],
    [1, 4, 2, 1, 1, 2],
    [1, 4, 2, 2, 1, 1],
    [2, 4, 1, 2, 1, 1],
    [2, 2, 1, 1, 1, 4],
    [4, 1, 3, 1, 1, 1],
    [2, 4, 1, 1, 1, 2],
    [1, 3, 4, 1, 1, 1],
    [1, 1, 1, 2, 4, 2],
    [1, 2, 1, 1, 4, 2],
    [1, 2, 1, 2, 4, 1],
    [1, 1, 4, 2, 1, 2],
    [1, 2, 4, 1, 1, 2],
    [1, 2, 4, 2, 1, 1],
    [4, 1, 1, 2, 1, 2],
    [4, 2, 1, 1, 1, 2],
    [4, 2, 1, 2, 1, 1],
    [2, 1, 2, 1, 4, 1],
    [2, 1, 4, 1, 2, 1],
    [4, 1, 2, 1, 2, 1],
    [1, 1, 1, 1, 4, 3],
    [1, 1, 1, 3, 4, 1],
    [1, 3, 1, 1, 4, 1],
    [1, 1, 4, 1, 1, 3],
    [1, 1, 4, 3, 1, 1],
    [4, 1, 1, 1, 1, 3],
    [4, 1, 1, 3, 1, 1],
    [1, 1, 3, 1, 4, 1],
    [1, 1, 4, 1, 3, 1],
    [3, 1, 1, 1, 4, 1],
    [4, 1, 1, 1, 3, 1],
    [2, 1, 1, 4, 1, 2],
    [2, 1, 1, 2, 1, 4],
    [2, 1, 1, 2, 3, 2],
];

/// The stop, bar to bar.
pub(super) const STOP: [u8; 7] = [2, 3, 3, 1, 1, 1, 2];

pub(in crate::scan) const START_A: u8 = 103;
pub(super) const START_C: u8 = 105;

/// The text of characters from the start to the check, the stop left away. `None` where the check is wrong, or a character
/// can't stand where it does.
pub(super) fn text(characters: &[u8]) -> Option<String> {
    let [start @ START_A..=START_C, data @ .., check] = characters else { return None };
    let sum = data.iter().zip(1_u32..).fold(u32::from(*start), |sum, (&one, place)| sum + u32::from(one) * place);
    if sum % 103 != u32::from(*check) || data.is_empty() {
        return None;
    }
    let mut text = String::new();
    let (mut set, mut shifted) = (start - START_A, None);
    for &character in data {
        let by = shifted.take().unwrap_or(set);
        match (by, character) {
            (_, START_A..) => return None,
            (2, 0..=99) => {
                text.push(char::from(b'0' + character / 10));
                text.push(char::from(b'0' + character % 10));
            }
            (0, 0..=63) | (1, 0..=95) => text.push(char::from(b' ' + character)),
            (0, 64..=95) => text.push(char::from(character - 64)),
            (0, 98) => shifted = Some(1),
            (1, 98) => shifted = Some(0),
            (0 | 1, 99) => set = 2,
            (0 | 2, 100) => set = 1,
            (1 | 2, 101) => set = 0,
            // Functions 1 to 3 say what a text is for, not what it is.
            (_, 102) | (0 | 1, 96 | 97) => {}
            // Function 4 (letters beyond ASCII) is in none of our texts: refused rather than misread.
            _ => return None,
        }
    }
    (!text.is_empty() && shifted.is_none()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_has_eleven_modules_an_even_count_of_them_dark_and_is_one_of_a_kind() {
        for (at, widths) in WIDTHS.iter().enumerate() {
            assert_eq!(widths.iter().sum::<u8>(), 11, "{at}");
            assert_eq!((widths[0] + widths[2] + widths[4]) % 2, 0, "{at}");
            assert!(!WIDTHS[..at].contains(widths), "{at}");
        }
    }

    #[test]
    fn the_patterns_are_those_that_an_encoder_draws() {
        // Ɓ starts set B in the encoder's writing.
        let text: String = (b' '..=b'~').map(char::from).collect();
        let drawn = barcoders::sym::code128::Code128::new(format!("\u{0181}{text}")).unwrap().encode();
        for (nth, modules) in drawn.chunks_exact(11).skip(1).take(95).enumerate() {
            let mut widths = vec![0];
            let mut dark = 1;
            for &module in modules {
                if module != dark {
                    dark = module;
                    widths.push(0);
                }
                *widths.last_mut().unwrap() += 1;
            }
            assert_eq!(widths, WIDTHS[nth], "{nth}");
        }
    }

    #[test]
    fn sets_shifts_and_the_check_are_understood() {
        let checked = |data: &[u8]| {
            let sum =
                data[1..].iter().zip(1_u32..).fold(u32::from(data[0]), |sum, (&one, at)| sum + u32::from(one) * at);
            let mut all = data.to_vec();
            all.push((sum % 103) as u8);
            all
        };
        assert_eq!(text(&checked(&[105, 13, 45, 100, 33, 98, 64, 34])).as_deref(), Some("1345A\0B"));
        assert_eq!(text(&checked(&[104, 33, 99, 28, 101, 33])).as_deref(), Some("A28A"));
        let mut wrong = checked(&[105, 13, 45]);
        wrong[1] += 1;
        assert_eq!(text(&wrong), None);
        assert_eq!(text(&checked(&[105])), None);
        assert_eq!(text(&checked(&[105, 103, 1])), None);
    }
}
