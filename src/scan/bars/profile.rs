//! A line across bars, as darkness along it: many lines side by side in one, so that noise goes and bars stay.

use std::ops::Range;

use super::super::{
    deadline::Deadline,
    grey::{Grey, Spot},
    regions::Stripes,
};

/// Samples a pixel.
pub(super) const SAMPLES_A_PIXEL: f32 = 2.0;

/// The mean of this many lines is as quiet as it gets: high bars are cut at wider distances.
const MOST_LINES: usize = 64;

/// The mean of lines across bars, luma a sample.
#[derive(Clone, Debug)]
pub(super) struct Profile {
    pub(super) values: Vec<f32>,
    /// Where the first sample lies, and how far it is to the next.
    pub(super) origin: Spot,
    pub(super) step: (f32, f32),
}

impl Profile {
    pub(super) fn at(&self, sample: f32) -> f32 {
        let last = self.values.len() - 1;
        let place = sample.clamp(0.0, last as f32);
        let before = (place as usize).min(last);
        let after = (before + 1).min(last);
        self.values[before] + (self.values[after] - self.values[before]) * (place - before as f32)
    }

    /// The point of the picture where a sample lies.
    pub(super) fn spot(&self, sample: f32) -> Spot {
        Spot::new(self.origin.x + self.step.0 * sample, self.origin.y + self.step.1 * sample)
    }

    pub(super) fn reversed(&self) -> Self {
        let mut values = self.values.clone();
        values.reverse();
        let origin = self.spot(values.len() as f32 - 1.0);
        Self { values, origin, step: (-self.step.0, -self.step.1) }
    }

    /// How much neighbouring samples differ: averaging along the wrong direction washes that out.
    fn contrast(&self) -> f32 {
        self.values.windows(2).map(|pair| (pair[1] - pair[0]).powi(2)).sum()
    }
}

/// How stripes are cut into lines.
pub(super) struct Cutter<'a> {
    grey: Grey<'a>,
    middle: Spot,
    /// One pixel across the bars, and along them.
    across: (f32, f32),
    along: (f32, f32),
    /// From the middle to either end of a line, quiet zones included.
    reach: f32,
    height: f32,
}

impl<'a> Cutter<'a> {
    /// Lines across `stripes`, at the direction in which their mean keeps the most contrast; of those that there was time for.
    pub(super) fn of(grey: Grey<'a>, stripes: &Stripes, deadline: Deadline) -> Self {
        let cutter = |turn: f32| {
            let (sine, cosine) = (stripes.direction + turn).sin_cos();
            let reach = stripes.across * 1.45 + 40.0;
            let height = (stripes.along * 2.0).max(4.0);
            Self { grey, middle: stripes.middle, across: (cosine, sine), along: (-sine, cosine), reach, height }
        };
        let contrast = |turn: f32| {
            let cutter = cutter(turn);
            cutter.cut(-cutter.height * 0.3..cutter.height * 0.3, 3.0).contrast()
        };
        let best = |turns: &mut dyn Iterator<Item = f32>| {
            let turns = turns.take_while(|_| !deadline.is_over());
            turns.map(|turn| (contrast(turn), turn)).max_by(|a, b| a.0.total_cmp(&b.0)).map_or(0.0, |best| best.1)
        };
        let coarse = best(&mut (-5..=5).map(|nth| nth as f32 * 0.03));
        let fine = best(&mut (-3..=3).map(|nth| coarse + nth as f32 * 0.008));
        cutter(fine)
    }

    /// The mean of the lines in a range of offsets along the bars, `spacing` pixels apart, [`MOST_LINES`] at most.
    pub(super) fn cut(&self, offsets: Range<f32>, spacing: f32) -> Profile {
        let samples = (2.0 * self.reach * SAMPLES_A_PIXEL) as usize + 1;
        let step = (self.across.0 / SAMPLES_A_PIXEL, self.across.1 / SAMPLES_A_PIXEL);
        let lines = (((offsets.end - offsets.start) / spacing) as usize).clamp(1, MOST_LINES);
        let mut values = vec![0.0; samples];
        let start = |offset: f32| {
            Spot::new(
                self.middle.x - self.across.0 * self.reach + self.along.0 * offset,
                self.middle.y - self.across.1 * self.reach + self.along.1 * offset,
            )
        };
        for line in 0..lines {
            let from = start(offsets.start + (line as f32 + 0.5) * (offsets.end - offsets.start) / lines as f32);
            for (nth, value) in values.iter_mut().enumerate() {
                *value += self.grey.at(from.x + step.0 * nth as f32, from.y + step.1 * nth as f32);
            }
        }
        values.iter_mut().for_each(|value| *value /= lines as f32);
        Profile { values, origin: start((offsets.start + offsets.end) / 2.0), step }
    }

    /// `count` strips side by side that share no line, each the mean of its lines: the middle one first, then outwards. The
    /// ends of the bars are left away: they are ragged. Each is cut when it is asked for.
    pub(super) fn strips(&self, count: usize) -> impl Iterator<Item = Profile> {
        let used = self.height * 0.86;
        let each = used / count as f32;
        let mut order: Vec<usize> = (0..count).collect();
        order.sort_by_key(|&nth| nth.abs_diff(count / 2));
        let from = move |nth: usize| -used / 2.0 + each * nth as f32;
        order.into_iter().map(move |nth| self.cut(from(nth)..from(nth) + each, 1.0))
    }

    /// How far along the bars goes what was cut.
    pub(super) fn height(&self) -> f32 {
        self.height
    }

    /// One pixel along the bars.
    pub(super) fn along(&self) -> (f32, f32) {
        self.along
    }
}
