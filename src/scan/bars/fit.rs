//! Characters from a profile without thresholds: each of the 106 patterns is drawn as blurred as the profile is, and the
//! one that correlates best stands there, if it does so clearly. What this reads through blur and noise no counting of
//! widths can; see [`super`] for when it is believed.

use super::{
    patterns::{START_A, START_C, STOP, WIDTHS, text},
    profile::Profile,
};
use crate::scan::deadline::Deadline;

/// Samples a module in the drawn patterns.
const FINE: usize = 4;
const SAMPLES: usize = 11 * FINE;
const STOP_SAMPLES: usize = 13 * FINE;

/// Blurs that patterns are drawn with: standard deviation in modules.
const BLURS: [f32; 5] = [0.3, 0.5, 0.7, 0.9, 1.15];

/// Modules narrower or wider than these many samples are not looked for.
const MODULES: (f32, f32) = (2.0, 22.0);

/// How well a start must correlate to be followed, and how many are.
const START_FITS: f32 = 0.86;
const STARTS: usize = 6;

/// How many of the characters that fit best are moved about to fit better.
const LIKELY: usize = 4;

/// How well every character must correlate, and the mean of them. Texts that are there have a mean of 0.95 and more, 0.88
/// near a pixel a module; other symbologies and letters reach 0.915, but not with a margin.
const CHARACTER_FITS: f32 = 0.66;
const MEAN_FITS: f32 = 0.9;
/// A reading on its way may fall this much behind.
const BEHIND: f32 = 0.03;
/// By how much the least certain character must beat the next best: what is there has 0.04 and more, what isn't 0 to 0.02.
const MARGIN: f32 = 0.03;

/// Fewer characters, start and check included, are too little evidence.
const FEWEST: usize = 5;

/// Characters of the longest text that is looked for, with start and check.
const LONGEST: usize = 70;

/// A text in a profile.
#[derive(Clone, Debug)]
pub(super) struct Fit {
    pub(super) text: String,
    /// First and last edge, in samples.
    pub(super) start: f32,
    pub(super) end: f32,
    /// Samples a module.
    pub(super) module: f32,
}

/// The patterns, drawn with each blur, each less its mean and of length one.
pub(super) struct Drawn {
    characters: Vec<Vec<[f32; SAMPLES]>>,
    stops: Vec<[f32; STOP_SAMPLES]>,
}

impl Drawn {
    pub(super) fn new() -> Self {
        // Before each pattern there is a space, after it a bar: the next one's first, or nothing beyond a stop's last.
        let characters = BLURS.map(|blur| WIDTHS.iter().map(|widths| drawn::<SAMPLES>(widths, blur, true)).collect());
        let stops = BLURS.map(|blur| drawn::<STOP_SAMPLES>(&STOP, blur, false));
        Self { characters: characters.to_vec(), stops: stops.to_vec() }
    }
}

fn drawn<const N: usize>(widths: &[u8], blur: f32, bar_after: bool) -> [f32; N] {
    let mut edges = vec![0.0];
    for &width in widths {
        edges.push(edges.last().copied().unwrap_or(0.0) + f32::from(width));
    }
    // Darkness is the sum of the steps at the edges, each as soft as the blur: a logistic step is near enough to an optic's.
    let step = |distance: f32| 1.0 / (1.0 + (-1.702 * distance / blur).exp());
    let mut values = std::array::from_fn(|nth| {
        let place = (nth as f32 + 0.5) / FINE as f32;
        let inside: f32 = edges
            .iter()
            .enumerate()
            .take(widths.len() + usize::from(bar_after || widths.len() % 2 == 1))
            .map(|(at, edge)| if at % 2 == 0 { step(place - edge) } else { -step(place - edge) })
            .sum();
        inside
    });
    normalise(&mut values);
    values
}

/// Less the mean, and of length one. Returns the length that it had.
fn normalise(values: &mut [f32]) -> f32 {
    let mean = values.iter().sum::<f32>() / values.len() as f32;
    values.iter_mut().for_each(|value| *value -= mean);
    let length = values.iter().map(|value| value * value).sum::<f32>().sqrt();
    if length > 1e-6 {
        values.iter_mut().for_each(|value| *value /= length);
    }
    length
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Darkness at the places of a pattern that begins at `from`, normalised; `None` where there is no contrast.
fn sampled<const N: usize>(profile: &Profile, from: f32, module: f32) -> Option<[f32; N]> {
    let mut values = std::array::from_fn(|nth| -profile.at(from + (nth as f32 + 0.5) / FINE as f32 * module));
    (normalise(&mut values) > 0.5).then_some(values)
}

/// A reading on its way.
#[derive(Clone)]
struct Path {
    characters: Vec<u8>,
    at: f32,
    module: f32,
    sum: f32,
    margin: f32,
}

/// Every text of a profile, read from its first sample on.
pub(super) fn read(profile: &Profile, drawn: &Drawn, deadline: Deadline) -> Option<Fit> {
    for (start, blur) in starts(profile, drawn, deadline) {
        if deadline.is_over() {
            break;
        }
        let fit = follow(profile, drawn, start, blur);
        if fit.is_some() {
            return fit;
        }
    }
    None
}

/// Where a text may begin, the likeliest first: with quiet before it and a start after it.
fn starts(profile: &Profile, drawn: &Drawn, deadline: Deadline) -> Vec<(Path, usize)> {
    let mut found: Vec<(f32, Path, usize)> = Vec::new();
    let mut module = MODULES.0;
    // Falling edges are where starts begin: the steepest place of each, in the first half of the profile.
    let slope = |at: usize| profile.values[at + 1] - profile.values[at];
    let inner = 1..profile.values.len().saturating_sub(2);
    let steepest = inner.clone().map(slope).fold(0.0, f32::min);
    let edges: Vec<usize> = inner
        .filter(|&at| at < profile.values.len() * 3 / 5)
        .filter(|&at| {
            slope(at) < (steepest * 0.15).min(-0.5) && slope(at) <= slope(at - 1) && slope(at) < slope(at + 1)
        })
        .collect();
    while module < MODULES.1 && !deadline.is_over() {
        for &edge in &edges {
            let from = edge as f32 + 0.5;
            if from + module * 46.0 > profile.values.len() as f32 {
                break;
            }
            // Quiet: light and even for some modules. Beyond them a screen may end.
            let ink = profile.at(from + module);
            let near = profile.at(from - 1.5 * module);
            let uneven = |modules: f32| (profile.at(from - modules * module) - near).abs() > (near - ink) * 0.4;
            if near <= ink + 2.0 || [2.5, 3.5, 4.5, 5.5].into_iter().any(uneven) {
                continue;
            }
            let Some(values) = sampled::<SAMPLES>(profile, from, module) else { continue };
            for (blur, characters) in drawn.characters.iter().enumerate().step_by(2) {
                for start in START_A..=START_C {
                    let fit = dot(&values, &characters[usize::from(start)]);
                    if fit < START_FITS {
                        continue;
                    }
                    let path = Path { characters: vec![start], at: from, module, sum: fit, margin: 1.0 };
                    let known = found.iter_mut().find(|(_, old, _)| {
                        old.characters[0] == start
                            && (old.at - from).abs() < module
                            && (old.module / module - 1.0).abs() < 0.15
                    });
                    match known {
                        Some(old) if old.0 < fit => *old = (fit, path, blur),
                        Some(_) => {}
                        None => found.push((fit, path, blur)),
                    }
                }
            }
        }
        module *= 1.05;
    }
    found.sort_by(|a, b| b.0.total_cmp(&a.0));
    let best = found.into_iter().take(STARTS);
    best.map(|(_, mut path, blur)| {
        // The best blur and place for it decide how the rest is read.
        let mut best = (path.sum, path.at, path.module, blur);
        for (nth, characters) in drawn.characters.iter().enumerate() {
            for (shift, stretch) in nudges() {
                let (at, module) = (path.at + shift * path.module, path.module * stretch);
                let Some(values) = sampled::<SAMPLES>(profile, at, module) else { continue };
                let fit = dot(&values, &characters[usize::from(path.characters[0])]);
                if fit > best.0 {
                    best = (fit, at, module, nth);
                }
            }
        }
        (path.sum, path.at, path.module) = (best.0, best.1 + best.2 * 11.0, best.2);
        (path, best.3)
    })
    .collect()
}

/// Small moves, in modules, and stretches.
fn nudges() -> impl Iterator<Item = (f32, f32)> {
    [-0.3, -0.15, 0.0, 0.15, 0.3]
        .into_iter()
        .flat_map(|shift| [0.96, 0.985, 1.0, 1.015, 1.04].map(|stretch| (shift, stretch)))
}

/// Reads on from a start, character by character, until a stop; gives up at the first character that is not certain.
fn follow(profile: &Profile, drawn: &Drawn, start: Path, blur: usize) -> Option<Fit> {
    let (from, characters) = (start.at - start.module * 11.0, &drawn.characters[blur]);
    let mut path = start;
    while path.characters.len() < LONGEST {
        if path.characters.len() >= FEWEST
            && let Some(end) = ends(profile, &drawn.stops[blur], &path)
            && let Some(text) = text(&path.characters)
        {
            let module = (end.1 - from) / (path.characters.len() as f32 * 11.0 + 13.0);
            let quality = (path.sum + end.0) / (path.characters.len() + 1) as f32;
            return (quality >= MEAN_FITS).then_some(Fit { text, start: from, end: end.1, module });
        }
        path = step(profile, characters, path)?;
    }
    None
}

/// The next character, where it is certain.
fn step(profile: &Profile, characters: &[[f32; SAMPLES]], mut path: Path) -> Option<Path> {
    let values = sampled::<SAMPLES>(profile, path.at, path.module)?;
    let mut likely: Vec<Placed> = (0..START_A)
        .map(|one| Placed { fit: dot(&values, &characters[usize::from(one)]), one, at: path.at, module: path.module })
        .collect();
    likely.sort_by(|a, b| b.fit.total_cmp(&a.fit));
    likely.truncate(LIKELY);
    for (shift, stretch) in nudges() {
        let (at, module) = (path.at + shift * path.module, path.module * stretch);
        let Some(values) = sampled::<SAMPLES>(profile, at, module) else { continue };
        // Far from where it was expected needs a little more evidence.
        let cost = shift.abs() * 0.03 + (stretch - 1.0).abs() * 0.2;
        for placed in &mut likely {
            let fit = dot(&values, &characters[usize::from(placed.one)]) - cost;
            if fit > placed.fit {
                *placed = Placed { fit, one: placed.one, at, module };
            }
        }
    }
    likely.sort_by(|a, b| b.fit.total_cmp(&a.fit));
    let (best, second) = (likely.first()?, likely.get(1)?);
    path.sum += best.fit;
    path.characters.push(best.one);
    path.margin = path.margin.min(best.fit - second.fit);
    let falls_behind = path.sum < (MEAN_FITS - BEHIND) * path.characters.len() as f32;
    if best.fit < CHARACTER_FITS || best.module < MODULES.0 * 0.9 || path.margin < MARGIN || falls_behind {
        return None;
    }
    // Follows the drift, and not each wobble: perspective widens modules by up to a fiftieth a character.
    let (expected, seen) = (path.at + path.module * 11.0, best.at + best.module * 11.0);
    path.module = path.module * 0.5 + best.module * 0.5 + 0.3 * (best.at - path.at) / 11.0;
    path.at = expected * 0.2 + seen * 0.8;
    Some(path)
}

/// A character, where it fits best.
#[derive(Clone, Copy)]
struct Placed {
    fit: f32,
    one: u8,
    at: f32,
    module: f32,
}

/// Whether a stop and quiet follow: how well it fits, and where the last bar ends.
fn ends(profile: &Profile, stop: &[f32; STOP_SAMPLES], path: &Path) -> Option<(f32, f32)> {
    let mut best = (0.0, 0.0);
    for (shift, stretch) in nudges() {
        let (at, module) = (path.at + shift * path.module, path.module * stretch);
        let end = at + module * 13.0;
        if end + module > profile.values.len() as f32 {
            continue;
        }
        let Some(values) = sampled::<STOP_SAMPLES>(profile, at, module) else { continue };
        let fit = dot(&values, stop);
        if fit > best.0 {
            let (ink, near, far) =
                (profile.at(end - module), profile.at(end + module * 1.5), profile.at(end + module * 3.5));
            let quiet = near > ink + 2.0 && (near - far).abs() < (near - ink) * 0.5;
            if quiet {
                best = (fit, end);
            }
        }
    }
    (best.0 >= CHARACTER_FITS + 0.1).then_some(best)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::scan::{deadline::Clock, grey::Spot};

    /// A profile of a text with modules of `module` samples, blurred by `blur` modules, with noise.
    fn profile(text: &str, module: f32, blur: f32, noise: f32) -> Profile {
        let modules = barcoders::sym::code128::Code128::new(text).unwrap().encode();
        let fine = 8;
        let mut ink = vec![0.0; 12 * fine];
        modules.iter().for_each(|&one| ink.extend(std::iter::repeat_n(f32::from(one), fine)));
        ink.extend(vec![0.0; 12 * fine]);
        let reach = (blur * 3.0 * fine as f32) as i32 + 1;
        let kernel: Vec<f32> =
            (-reach..=reach).map(|at| (-0.5 * (at as f32 / (blur * fine as f32)).powi(2)).exp()).collect();
        let whole: f32 = kernel.iter().sum();
        let mut state = 9_u32;
        let count = (ink.len() as f32 / fine as f32 * module) as usize;
        let values = (0..count).map(|nth| {
            let centre = (nth as f32 / module * fine as f32) as i32;
            let sum: f32 = kernel
                .iter()
                .enumerate()
                .map(|(at, weight)| {
                    let place = (centre + at as i32 - reach).clamp(0, ink.len() as i32 - 1);
                    weight * ink[place as usize]
                })
                .sum();
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            200.0 - 160.0 * sum / whole + ((state >> 16) as f32 / 32768.0 - 1.0) * noise
        });
        Profile { values: values.collect(), origin: Spot::new(0.0, 0.0), step: (0.5, 0.0) }
    }

    fn unhurried() -> Deadline {
        Deadline::after(Duration::from_secs(60), Clock::Wall)
    }

    #[test]
    fn texts_are_read_through_blur_and_noise_at_any_size() {
        let drawn = Drawn::new();
        for (text, means) in
            [("\u{0106}134567890123456789", "134567890123456789"), ("\u{0181}RF20250722KT", "RF20250722KT")]
        {
            for (module, blur, noise) in [(2.6, 0.45, 6.0), (4.0, 0.9, 4.0), (7.3, 0.3, 30.0)] {
                let fit = read(&profile(text, module, blur, noise), &drawn, unhurried());
                assert_eq!(fit.map(|fit| fit.text).as_deref(), Some(means), "{module} {blur} {noise}");
            }
        }
    }

    #[test]
    fn backwards_and_in_noise_alone_there_is_nothing() {
        let drawn = Drawn::new();
        let one = profile("\u{0106}134567890123456789", 4.0, 0.5, 2.0);
        assert!(read(&one.reversed(), &drawn, unhurried()).is_none());
        assert!(read(&one.reversed().reversed(), &drawn, unhurried()).is_some());
        let mut state = 1_u32;
        let values = (0..900).map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as f32
        });
        let noise = Profile { values: values.collect(), ..one };
        assert!(read(&noise, &drawn, unhurried()).is_none());
    }
}
