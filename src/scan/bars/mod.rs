//! Our own reader for Code 128, for what counting widths along rows gives up on: turned bars, blur, noise, modules near a
//! pixel.
//!
//! `super::regions` finds bars and their direction, `profile` cuts lines across them and takes their mean, `fit` reads it by
//! `patterns`. The check of Code 128 is one digit of 103, so a text is believed only when two strips that share no line say
//! it, each with its own check, and no strip says otherwise.

mod fit;
pub(super) mod patterns;
mod profile;

use std::sync::LazyLock;

use super::{Corners, code128::Bars, deadline::Deadline, grey::Grey, regions::Edges};
use fit::{Drawn, Fit, read as read_profile};
use profile::{Cutter, Profile, SAMPLES_A_PIXEL};

/// How many parts with bars are looked at.
const MOST_STRIPES: usize = 4;

/// Strips that stripes are cut into, from many lines a strip to few: bars that lean under perspective need short ones.
const CUTS: [usize; 3] = [2, 5, 9];

/// Strips that may say nothing before the others of their cut are left out.
const ENOUGH: usize = 4;

/// The share of the budget that bars may take.
const SHARE: f32 = 0.25;

/// Strips that must agree.
const AGREE: usize = 2;

/// The patterns as this reader compares with them.
static DRAWN: LazyLock<Drawn> = LazyLock::new(Drawn::new);

/// What a look saw.
#[derive(Default)]
pub(super) struct Look {
    pub(super) read: Vec<Bars>,
    /// What only one strip said: no reading, but another frame may say it too.
    pub(super) alone: Vec<Bars>,
}

/// All bar codes in the parts of a picture where edges run one way.
pub(super) fn read(grey: Grey<'_>, edges: &Edges, deadline: Deadline) -> Look {
    let mut look = Look::default();
    let deadline = deadline.within(SHARE);
    for stripes in edges.stripes().iter().take(MOST_STRIPES) {
        if deadline.is_over() {
            break;
        }
        let cutter = Cutter::of(grey, stripes, deadline);
        read_stripes(&cutter, &DRAWN, deadline, &mut look);
    }
    look
}

fn read_stripes(cutter: &Cutter<'_>, drawn: &Drawn, deadline: Deadline, look: &mut Look) {
    let mut backwards = None;
    let mut alone: Option<Bars> = None;
    for count in CUTS {
        // A strip of less than two lines is no evidence of its own.
        if cutter.height() / (count as f32) < 1.5 {
            break;
        }
        let mut said: Vec<(Fit, Profile)> = Vec::new();
        for (nth, profile) in cutter.strips(count).enumerate() {
            if deadline.is_over() {
                return;
            }
            // The middle has said nothing: nor will the ends.
            if nth >= ENOUGH && said.is_empty() {
                break;
            }
            let reversed = profile.reversed();
            let turns = match backwards {
                None => vec![&profile, &reversed],
                Some(false) => vec![&profile],
                Some(true) => vec![&reversed],
            };
            for (nth, one) in turns.into_iter().enumerate() {
                if let Some(fit) = read_profile(one, drawn, deadline) {
                    backwards = backwards.or(Some(nth == 1));
                    said.push((fit, one.clone()));
                    break;
                }
            }
        }
        if let Some(bars) = agreed(&said, cutter, AGREE) {
            look.read.push(bars);
            return;
        }
        alone = alone.or_else(|| agreed(&said, cutter, 1));
    }
    look.alone.extend(alone);
}

/// The text that at least `fewest` strips say, and hardly any denies.
fn agreed(said: &[(Fit, Profile)], cutter: &Cutter<'_>, fewest: usize) -> Option<Bars> {
    let (first, _) =
        said.iter().max_by_key(|(one, _)| said.iter().filter(|(other, _)| other.text == one.text).count())?;
    let alike: Vec<&(Fit, Profile)> = said.iter().filter(|(one, _)| one.text == first.text).collect();
    if alike.len() < fewest || said.len() - alike.len() > alike.len() / 3 {
        return None;
    }
    let (along_x, along_y) = cutter.along();
    let height = |(_, profile): &&&(Fit, Profile)| profile.origin.x * along_x + profile.origin.y * along_y;
    let (top, upper) = alike.iter().min_by(|a, b| height(a).total_cmp(&height(b)))?;
    let (bottom, lower) = alike.iter().max_by(|a, b| height(a).total_cmp(&height(b)))?;
    let corner = |profile: &Profile, sample: f32| {
        let spot = profile.spot(sample);
        (spot.x, spot.y)
    };
    let mut corners =
        [corner(upper, top.start), corner(upper, top.end), corner(lower, bottom.end), corner(lower, bottom.start)];
    // Clockwise from the text's own top left: read backwards, what was cut first is its lower side.
    let turn = (corners[1].0 - corners[0].0) * along_y - (corners[1].1 - corners[0].1) * along_x;
    if turn < 0.0 {
        corners = [corners[3], corners[2], corners[1], corners[0]];
    }
    Some(Bars::from_strips(first.text.clone(), Corners(corners), top.module / SAMPLES_A_PIXEL))
}
