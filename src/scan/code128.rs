//! Code 128 by rows: rxing decodes one row, this module chooses rows, follows a bar code up and down, and weighs what rows
//! say against each other.

use rxing::{
    DecodeHints, RXingResult,
    common::{BitArray, LineOrientation},
    oned::{Code128Reader, OneDReader},
};

use super::{Corners, deadline::Deadline, runs};

/// Bars of the shortest symbol: start, one character, check (three each) and stop (four).
const FEWEST_EDGES: u32 = 26;

/// Modules of a start or data pattern, and of the stop pattern with its last bar.
const PATTERN_MODULES: f32 = 11.0;
const STOP_MODULES: f32 = 13.0;

/// How many lines of the picture are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effort {
    /// 31 rows, a 32nd of the height apart.
    Quick,
    /// Rows and, where no row says anything, columns, a 256th apart.
    Harder,
}

/// One bar code: its text and where its bars are.
pub(super) struct Bars {
    pub(super) text: String,
    pub(super) corners: Corners,
    /// Whether a second row, far enough from the first to have noise of its own, was decoded and says the same.
    pub(super) confirmed: bool,
    /// Width of the narrowest bar, in pixels along the row.
    module: f32,
}

impl Bars {
    /// Bars read in strips of their own, with modules of `module` pixels.
    pub(super) const fn from_strips(text: String, corners: Corners, module: f32) -> Self {
        Self { text, corners, confirmed: true, module }
    }

    /// Moves the corners to the ends of the first and the last bar. Rows that are read whole end earlier where bars lean:
    /// each of the two bars, two modules wide, is followed up and down while it is `black`.
    pub(super) fn reach_ends(&mut self, black: impl Fn(f32, f32) -> bool) {
        let [own_top_left, own_top_right, own_bottom_right, own_bottom_left] = self.corners.0;
        let edges = [(own_top_left, own_bottom_left, own_top_right), (own_top_right, own_bottom_right, own_top_left)];
        let [(top_left, bottom_left), (top_right, bottom_right)] = edges.map(|(top, bottom, inward)| {
            let along = unit(top, inward);
            let middle_of_bar = |at: (f32, f32)| (at.0 + along.0 * self.module, at.1 + along.1 * self.module);
            let reach = |from, to| {
                let (mut at, down) = (middle_of_bar(to), unit(from, to));
                let most = length(own_top_left, own_top_right);
                let mut reached = 0.0;
                while reached < most {
                    let next = (at.0 + down.0, at.1 + down.1);
                    // A pixel to either side, as the lean was taken from few rows.
                    let aside = [0.0, -1.0, 1.0].map(|side| (next.0 + along.0 * side, next.1 + along.1 * side));
                    let Some(found) = aside.into_iter().find(|(x, y)| black(*x, *y)) else { break };
                    at = found;
                    reached += 1.0;
                }
                (at.0 - along.0 * self.module, at.1 - along.1 * self.module)
            };
            (reach(bottom, top), reach(top, bottom))
        });
        self.corners = Corners([top_left, top_right, bottom_right, bottom_left]);
    }
}

fn length(from: (f32, f32), to: (f32, f32)) -> f32 {
    (to.0 - from.0).hypot(to.1 - from.1)
}

/// One pixel from `from` towards `to`.
fn unit(from: (f32, f32), to: (f32, f32)) -> (f32, f32) {
    let length = length(from, to).max(f32::EPSILON);
    ((to.0 - from.0) / length, (to.1 - from.1) / length)
}

/// Something that has lines of black and white: a picture upright, or turned a quarter.
pub(super) trait Lines {
    /// The line `at` in `direction`, black being true.
    fn line(&self, at: usize, direction: LineOrientation) -> Option<BitArray>;
    /// Width and height.
    fn size(&self) -> (usize, usize);
}

/// Where one row saw a whole symbol. `start` is the outer edge of the start pattern, `end` that of the stop pattern; a
/// symbol upside down has its start to the right.
#[derive(Clone, Copy)]
struct Span {
    row: usize,
    start: f32,
    end: f32,
}

impl Span {
    fn left(self) -> f32 {
        self.start.min(self.end)
    }
    fn right(self) -> f32 {
        self.start.max(self.end)
    }
    fn overlaps(self, other: Self) -> bool {
        self.left() < other.right() && other.left() < self.right()
    }
}

/// All bar codes of the picture.
pub(super) fn read(lines: &impl Lines, effort: Effort, deadline: Deadline) -> Vec<Bars> {
    let upright = read_along(lines, LineOrientation::Row, effort, deadline);
    if !upright.is_empty() || effort == Effort::Quick {
        return upright;
    }
    read_along(lines, LineOrientation::Column, effort, deadline)
}

fn read_along(lines: &impl Lines, direction: LineOrientation, effort: Effort, deadline: Deadline) -> Vec<Bars> {
    let (width, height) = lines.size();
    let (length, count) = if direction == LineOrientation::Row { (width, height) } else { (height, width) };
    let scan = Scan { lines, direction, length, count };
    let step = (count >> if effort == Effort::Quick { 5 } else { 8 }).max(1);
    let mut found: Vec<Found> = Vec::new();
    for row in from_the_middle(count, step) {
        if deadline.is_over() {
            break;
        }
        scan.look_at(row, &mut found);
    }
    settle(found).into_iter().map(|one| one.into_bars(direction)).collect()
}

/// The middle line, then those `step` away on either side, then farther out: cameras are pointed at codes.
fn from_the_middle(count: usize, step: usize) -> impl Iterator<Item = usize> {
    let middle = count / 2;
    let pairs = (1..).map(move |n| n * step).take_while(move |away| *away <= middle);
    let around = pairs.flat_map(move |away| [middle.checked_sub(away), Some(middle + away)]);
    std::iter::once(middle).chain(around.flatten()).filter(move |row| *row < count)
}

/// A text and the rows that said so, from the topmost to the lowest.
struct Found {
    text: String,
    top: Span,
    bottom: Span,
    rows: usize,
    confirmed: bool,
    module: f32,
}

impl Found {
    fn covers(&self, row: usize) -> bool {
        (self.top.row..=self.bottom.row).contains(&row)
    }

    /// The corners clockwise from the symbol's own top left: the side of its start pattern that is up when it reads from
    /// left to right.
    fn into_bars(self, direction: LineOrientation) -> Bars {
        let (top, bottom) = (self.top, self.bottom);
        let (above, below) = (top.row as f32, bottom.row as f32 + 1.0);
        let upside_down = top.start > top.end;
        let mut corners = if upside_down {
            [(bottom.start, below), (bottom.end, below), (top.end, above), (top.start, above)]
        } else {
            [(top.start, above), (top.end, above), (bottom.end, below), (bottom.start, below)]
        };
        if direction == LineOrientation::Column {
            // Reading columns mirrors the picture at its diagonal: swap the axes, and turn the order round again so that
            // it stays clockwise with the start pattern first.
            corners = corners.map(|(x, y)| (y, x));
            corners = [corners[3], corners[2], corners[1], corners[0]];
        }
        Bars { text: self.text, corners: Corners(corners), confirmed: self.confirmed, module: self.module }
    }
}

struct Scan<'a, L> {
    lines: &'a L,
    direction: LineOrientation,
    length: usize,
    count: usize,
}

impl<L: Lines> Scan<'_, L> {
    /// Everything that one row says, left and right of what is known to be there.
    fn look_at(&self, row: usize, found: &mut Vec<Found>) {
        let Some(line) = self.lines.line(row, self.direction) else { return };
        if edges(&line) < FEWEST_EDGES {
            return;
        }
        let mut gaps = vec![(0, self.length)];
        while let Some((from, to)) = gaps.pop() {
            let known = found.iter().find(|one| one.covers(row) && within(one.top, one.bottom, from, to));
            if let Some(one) = known {
                let (left, right) = (one.top.left().min(one.bottom.left()), one.top.right().max(one.bottom.right()));
                gaps.extend([(from, left.max(0.0) as usize), (right as usize, to)].into_iter().filter(wide_enough));
                continue;
            }
            let Some((text, span, module)) = read_part(&line, row, from, to) else { continue };
            gaps.extend(
                [(from, span.left().max(0.0) as usize), (span.right() as usize, to)].into_iter().filter(wide_enough),
            );
            let mut new = Found { text, top: span, bottom: span, rows: 1, confirmed: false, module };
            self.follow(&mut new);
            self.confirm(&mut new, span);
            match found.iter_mut().find(|old| old.text == new.text && old.top.overlaps(new.top)) {
                Some(old) => {
                    old.rows += new.rows;
                    // two looks that began at rows of their own
                    old.confirmed |= new.confirmed || far_apart(old.top.row, row) || far_apart(old.bottom.row, row);
                    old.top = if new.top.row < old.top.row { new.top } else { old.top };
                    old.bottom = if new.bottom.row > old.bottom.row { new.bottom } else { old.bottom };
                }
                None => found.push(new),
            }
        }
    }

    /// Follows the bars up and down: strides that double while rows still say the same, then halve to find the end.
    fn follow(&self, found: &mut Found) {
        for down in [false, true] {
            let mut last = if down { found.bottom } else { found.top };
            let (mut stride, mut growing) = (1, true);
            while stride > 0 {
                let next = if down { last.row.checked_add(stride) } else { last.row.checked_sub(stride) };
                let seen = next.filter(|row| *row < self.count).and_then(|row| self.see(&found.text, row, last));
                match seen {
                    Some(span) => {
                        last = span;
                        found.rows += 1;
                        stride = if growing { stride * 2 } else { stride / 2 };
                    }
                    None => {
                        growing = false;
                        stride = if stride > self.count / 128 { stride / 2 } else { 0 };
                    }
                }
            }
            *(if down { &mut found.bottom } else { &mut found.top }) = last;
        }
    }

    /// Decodes rows above and below the first one until a second says the same. Rows that merely look alike were not
    /// decoded, and neighbours share their noise (and the blocks of a JPEG): they are no witness.
    fn confirm(&self, found: &mut Found, first: Span) {
        let between = |end: usize| usize::midpoint(first.row, end);
        let rows = [found.top.row, found.bottom.row, between(found.top.row), between(found.bottom.row)];
        found.confirmed = rows.into_iter().filter(|row| far_apart(*row, first.row)).any(|row| {
            let line = self.lines.line(row, self.direction);
            line.is_some_and(|line| self.decode(&found.text, &line, row, first).is_some())
        });
    }

    /// Whether `row` says `text` near where `last` saw it; only that part of the row is read.
    fn see(&self, text: &str, row: usize, last: Span) -> Option<Span> {
        let line = self.lines.line(row, self.direction)?;
        if self.lines.line(last.row, self.direction).is_some_and(|before| same_bars(&before, &line, last)) {
            return Some(Span { row, ..last }); // reading it would take thirty times as long
        }
        self.decode(text, &line, row, last)
    }

    /// Whether this line, decoded, says `text` near where `last` saw it.
    fn decode(&self, text: &str, line: &BitArray, row: usize, last: Span) -> Option<Span> {
        let shift = row.abs_diff(last.row) as f32; // bars may lean by 45 degrees
        let margin = (last.right() - last.left()) * 0.2 + 12.0 + shift;
        let from = (last.left() - margin).max(0.0) as usize;
        let to = ((last.right() + margin) as usize).min(self.length);
        read_part(line, row, from, to).filter(|(seen, ..)| seen == text).map(|(_, span, _)| span)
    }
}

/// Rows that don't share their noise: a JPEG's blocks are eight pixels high.
const fn far_apart(one: usize, other: usize) -> bool {
    one.abs_diff(other) >= 8
}

fn within(top: Span, bottom: Span, from: usize, to: usize) -> bool {
    let middle = (top.left() + top.right() + bottom.left() + bottom.right()) / 4.0;
    (from as f32..to as f32).contains(&middle)
}

/// 46 modules are the shortest symbol; less than as many pixels can't be one.
fn wide_enough(gap: &(usize, usize)) -> bool {
    gap.1.saturating_sub(gap.0) >= 46
}

/// What rows said, weighed. The check of Code 128 is one digit of 103, so a row that reads garbage may pass it: where two
/// texts claim the same bars, the one that more rows said stands, and with as many rows for either, neither does.
fn settle(mut found: Vec<Found>) -> Vec<Found> {
    found.sort_by_key(|one| std::cmp::Reverse(one.rows));
    let mut settled: Vec<(Found, bool)> = Vec::new();
    for one in found {
        let rival = settled.iter_mut().find(|(other, _)| {
            other.top.overlaps(one.top) && other.top.row <= one.bottom.row && one.top.row <= other.bottom.row
        });
        match rival {
            Some((other, doubtful)) if other.rows == one.rows => *doubtful = true,
            Some(_) => {}
            None => settled.push((one, false)),
        }
    }
    settled.into_iter().filter(|(_, doubtful)| !doubtful).map(|(one, _)| one).collect()
}

/// Whether two rows are black and white alike where a symbol is, but for one pixel in sixteen.
fn same_bars(one: &BitArray, two: &BitArray, span: Span) -> bool {
    const WORD: usize = usize::BITS as usize;
    let (from, to) = (span.left().max(0.0) as usize / WORD, (span.right().max(0.0) as usize).div_ceil(WORD));
    let words = |line: &BitArray| line.getBitArray().get(from..to).map(<[usize]>::to_vec);
    let (Some(one), Some(two)) = (words(one), words(two)) else { return false };
    let different: u32 = one.iter().zip(&two).map(|(one, two)| (one ^ two).count_ones()).sum();
    (different as usize) < (to - from) * WORD / 16
}

fn edges(line: &BitArray) -> u32 {
    line.getBitArray().iter().map(|word| (word ^ (word >> 1)).count_ones()).sum()
}

/// The first symbol in pixels `from..to` of a row, read from left to right, else from right to left: its text, where it
/// is, and its module.
fn read_part(line: &BitArray, row: usize, from: usize, to: usize) -> Option<(String, Span, f32)> {
    let part = part_of(line, from, to);
    let hints = DecodeHints::default();
    let mut runs = Vec::new();
    runs::of(&part, &mut runs);
    if runs::could_begin_bars(&runs)
        && let Ok(read) = Code128Reader.decode_row(row as u32, &part, &hints)
    {
        let (start, end, module) = outer_edges(&read)?;
        return Some((
            read.getText().to_owned(),
            Span { row, start: from as f32 + start, end: from as f32 + end },
            module,
        ));
    }
    runs.reverse();
    if !runs::could_begin_bars(&runs) {
        return None;
    }
    let mut backwards = part;
    backwards.reverse();
    let read = Code128Reader.decode_row(row as u32, &backwards, &hints).ok()?;
    let (start, end, module) = outer_edges(&read)?;
    Some((read.getText().to_owned(), Span { row, start: to as f32 - start, end: to as f32 - end }, module))
}

fn part_of(line: &BitArray, from: usize, to: usize) -> BitArray {
    if from == 0 && to >= line.get_size() {
        return line.clone();
    }
    let mut part = BitArray::with_size(to.saturating_sub(from));
    for at in from..to {
        if line.get(at) {
            part.set(at - from);
        }
    }
    part
}

/// Outer edges and module. rxing points at the middles of the start pattern and of the stop pattern without its last bar;
/// between them lie whole patterns, which gives the module. `None` for a symbol without text: it is no answer.
fn outer_edges(read: &RXingResult) -> Option<(f32, f32, f32)> {
    let [first, last] = read.getPoints() else { return None };
    let patterns = read.getRawBytes().len().checked_sub(1)?.max(1) as f32;
    let module = (last.x - first.x) / (patterns * PATTERN_MODULES);
    let start = first.x - module * PATTERN_MODULES / 2.0;
    let end = last.x + module * (STOP_MODULES - PATTERN_MODULES / 2.0);
    (!read.getText().is_empty()).then_some((start, end, module))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What rows said: text, topmost and lowest row, how many, and where from left to right.
    fn found(text: &str, top: usize, bottom: usize, rows: usize, from: f32, to: f32) -> Found {
        let span = |row| Span { row, start: from, end: to };
        Found { text: text.to_owned(), top: span(top), bottom: span(bottom), rows, confirmed: true, module: 2.0 }
    }

    fn settled(found: Vec<Found>) -> Vec<String> {
        settle(found).into_iter().map(|one| one.text).collect()
    }

    #[test]
    fn where_rows_contradict_each_other_the_more_rows_stand_and_even_ones_say_nothing() {
        let misread = || found("X", 20, 20, 1, 10.0, 90.0);
        assert_eq!(settled(vec![misread(), found("CODE", 10, 30, 9, 0.0, 100.0)]), ["CODE"]);
        assert!(settled(vec![misread(), found("CODE", 20, 20, 1, 0.0, 100.0)]).is_empty());
        assert_eq!(settled(vec![misread()]), ["X"]);
    }

    #[test]
    fn bars_beside_or_above_each_other_contradict_nothing() {
        let code = || found("CODE", 10, 30, 9, 0.0, 100.0);
        assert_eq!(settled(vec![code(), found("BESIDE", 10, 30, 9, 110.0, 200.0)]).len(), 2);
        assert_eq!(settled(vec![code(), found("BELOW", 31, 50, 9, 0.0, 100.0)]).len(), 2);
    }

    #[test]
    fn rows_are_looked_at_from_the_middle_outwards_each_once() {
        assert_eq!(from_the_middle(10, 2).collect::<Vec<_>>(), [5, 3, 7, 1, 9]);
        assert_eq!(from_the_middle(1, 1).collect::<Vec<_>>(), [0]);
        assert_eq!(from_the_middle(0, 1).count(), 0);
    }
}
