//! The symbol on the customer's screen: its modules, and the shade of any point around it.

use barcoders::sym::code128::Code128;
use fast_qr::{ECL, QRBuilder};

use super::{FrameError, WIDTH};

/// QR Code or Code 128.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Symbology {
    QrCode,
    Code128,
}

impl Symbology {
    /// Every symbology and the contract's word.
    pub(crate) const WORDS: [(&'static str, Self); 2] = [("qr_code", Self::QrCode), ("code_128", Self::Code128)];
}

/// Free modules around a symbol that its specification asks for.
const QR_QUIET: usize = 4;
const CODE_128_QUIET: usize = 10;
/// What a QR Code takes of the picture's height.
const QR_SIDE: f32 = 400.0;
/// Pixels a module of a linear code: below three a soft picture loses bars.
const BAR_LEAST: usize = 3;
const BAR_MOST: usize = 5;
const BAR_HEIGHT: f32 = 170.0;
/// The widest linear code: what a picture of 1280 leaves when it is turned a little.
const WIDEST: usize = WIDTH as usize - 40;

/// Shades before light: ink and paper of a screen, its frame, the counter behind.
const INK: f32 = 28.0;
const PAPER: f32 = 245.0;
const CASE: f32 = 45.0;
const COUNTER: f32 = 120.0;
/// White page and dark case around the symbol, in pixels.
const PAGE: f32 = 26.0;
const CASE_WIDTH: f32 = 14.0;

/// A symbol in pixels of the screen.
pub(super) struct Symbol {
    modules: Vec<bool>,
    columns: usize,
    rows: usize,
    module_width: f32,
    module_height: f32,
}

impl Symbol {
    /// Writes a text as a symbol, its quiet zone included.
    pub(super) fn of(text: &str, symbology: Symbology) -> Result<Self, FrameError> {
        match symbology {
            Symbology::QrCode => Self::qr(text),
            Symbology::Code128 => Self::code_128(text),
        }
    }

    fn qr(text: &str) -> Result<Self, FrameError> {
        let code = QRBuilder::new(text).ecl(ECL::M).build().map_err(|_| FrameError::NotWritable)?;
        let side = code.size + 2 * QR_QUIET;
        let mut modules = vec![false; side * side];
        for y in 0..code.size {
            for x in 0..code.size {
                modules[(y + QR_QUIET) * side + x + QR_QUIET] = code[y][x].value();
            }
        }
        let module = (QR_SIDE / side as f32).floor().max(3.0);
        Ok(Self { modules, columns: side, rows: side, module_width: module, module_height: module })
    }

    fn code_128(text: &str) -> Result<Self, FrameError> {
        let bars = Code128::new(with_code_sets(text)).map_err(|_| FrameError::NotWritable)?.encode();
        let columns = bars.len() + 2 * CODE_128_QUIET;
        let width = (WIDEST / columns).min(BAR_MOST);
        if width < BAR_LEAST {
            return Err(FrameError::TooLong);
        }
        let mut modules = vec![false; columns];
        for (module, bar) in modules[CODE_128_QUIET..].iter_mut().zip(bars) {
            *module = bar == 1;
        }
        Ok(Self { modules, columns, rows: 1, module_width: width as f32, module_height: BAR_HEIGHT })
    }

    /// In pixels, quiet zone included.
    pub(super) fn width(&self) -> f32 {
        self.columns as f32 * self.module_width
    }

    fn height(&self) -> f32 {
        self.rows as f32 * self.module_height
    }

    /// Whether a point of the screen, from the symbol's middle, is in the symbol or its quiet zone.
    pub(super) fn has(&self, u: f32, v: f32) -> bool {
        u.abs() <= self.width() / 2.0 && v.abs() <= self.height() / 2.0
    }

    /// The shade of a point of the screen, from the symbol's middle.
    pub(super) fn shade(&self, u: f32, v: f32) -> f32 {
        let outside_x = u.abs() - self.width() / 2.0;
        let outside_y = v.abs() - self.height() / 2.0;
        let outside = outside_x.max(outside_y);
        if outside >= PAGE + CASE_WIDTH {
            return COUNTER;
        }
        if outside >= PAGE {
            return CASE;
        }
        if outside >= 0.0 {
            return PAPER;
        }
        // inside, so both are positive and below columns and rows
        let column = ((u + self.width() / 2.0) / self.module_width) as usize;
        let row = ((v + self.height() / 2.0) / self.module_height) as usize;
        let index = row.min(self.rows - 1) * self.columns + column.min(self.columns - 1);
        if self.modules[index] { INK } else { PAPER }
    }
}

const SET_B: char = '\u{0181}';
const SET_C: char = '\u{0106}';
/// A run of digits pays for the change to set C and back from this length on.
const DIGITS_FOR_SET_C: usize = 6;

/// The text with the code sets named in it, as `barcoders` wants it: digits in pairs (C) where that is shorter, all else
/// in B.
fn with_code_sets(text: &str) -> String {
    let letters: Vec<char> = text.chars().collect();
    let mut marked = String::new();
    let mut set = None;
    let mut change_to = |to: char, marked: &mut String| {
        if set != Some(to) {
            marked.push(to);
            set = Some(to);
        }
    };
    let mut at = 0;
    while at < letters.len() {
        let run = letters[at..].iter().take_while(|letter| letter.is_ascii_digit()).count();
        let is_all = run == letters.len() && run >= 2;
        if run >= DIGITS_FOR_SET_C || is_all {
            let mut run = run;
            if run % 2 == 1 {
                // an odd digit stands before the pairs
                change_to(SET_B, &mut marked);
                marked.push(letters[at]);
                at += 1;
                run -= 1;
            }
            change_to(SET_C, &mut marked);
            marked.extend(&letters[at..at + run]);
            at += run;
        } else {
            let end = at + run.max(1);
            change_to(SET_B, &mut marked);
            marked.extend(&letters[at..end]);
            at = end;
        }
    }
    marked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_go_in_pairs_and_letters_one_by_one() {
        assert_eq!(with_code_sets("123456"), "Ć123456");
        assert_eq!(with_code_sets("1234567"), "Ɓ1Ć234567");
        assert_eq!(with_code_sets("T-1001"), "ƁT-1001");
        assert_eq!(with_code_sets("A12345678B"), "ƁAĆ12345678ƁB");
        assert_eq!(with_code_sets("42"), "Ć42");
        assert_eq!(with_code_sets("7"), "Ɓ7");
    }

    #[test]
    fn a_symbol_has_its_quiet_zone_and_its_first_bar_after_it() {
        let symbol = Symbol::of("100160000351000012511150504679", Symbology::Code128).unwrap();
        let left = -symbol.width() / 2.0;
        let at = |module: f32| symbol.shade(left + (module + 0.5) * symbol.module_width, 0.0);
        assert!((0..10).all(|module| at(module as f32) == PAPER));
        assert_eq!((at(10.0), at(11.0), at(12.0)), (INK, INK, PAPER), "start C is 11010011100");
        assert!(symbol.module_width >= 3.0);
    }
}
