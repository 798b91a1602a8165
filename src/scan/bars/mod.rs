//! Our own reader for Code 128, for what counting widths along rows gives up on: turned bars, blur, noise, modules near a
//! pixel.
//!
//! `super::regions` finds bars and their direction, `profile` cuts lines across them and takes their mean, `fit` reads it by
//! `patterns`. The check of Code 128 is one digit of 103, so a text is believed only when two strips that share no line say
//! it, each with its own check, and no strip says otherwise.

mod fit;
mod patterns;
mod profile;

use super::{
    Corners,
    code128::Bars,
    deadline::Deadline,
    grey::Grey,
    regions::{Edges, Stripes},
};
pub(super) use fit::Drawn;
use fit::{Fit, read as read_profile};
use profile::{Cutter, Profile, SAMPLES_A_PIXEL};

/// How many parts with bars are looked at.
const MOST_STRIPES: usize = 4;

/// Strips that stripes are cut into, from many lines a strip to few: bars that lean under perspective need short ones.
const CUTS: [usize; 3] = [2, 5, 9];

/// Strips that must agree.
const AGREE: usize = 2;

/// All bar codes in the parts of a picture where edges run one way.
pub(super) fn read(grey: Grey<'_>, edges: &Edges, drawn: &Drawn, deadline: Deadline) -> Vec<Bars> {
    let mut found: Vec<Bars> = Vec::new();
    for stripes in edges.stripes().iter().take(MOST_STRIPES) {
        if deadline.is_over() {
            break;
        }
        let cutter = Cutter::of(grey, stripes);
        found.extend(read_stripes(&cutter, drawn, deadline));
    }
    found
}

fn read_stripes(cutter: &Cutter<'_>, drawn: &Drawn, deadline: Deadline) -> Option<Bars> {
    let mut backwards = None;
    for count in CUTS {
        // A strip of less than two lines is no evidence of its own.
        if cutter.height() / (count as f32) < 1.5 {
            break;
        }
        let mut said: Vec<(Fit, Profile)> = Vec::new();
        for profile in cutter.strips(count) {
            if deadline.is_over() {
                return None;
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
        if let Some(bars) = agreed(&said, cutter) {
            return Some(bars);
        }
    }
    None
}

/// The text that at least two strips say, and none denies.
fn agreed(said: &[(Fit, Profile)], cutter: &Cutter<'_>) -> Option<Bars> {
    let (first, _) =
        said.iter().max_by_key(|(one, _)| said.iter().filter(|(other, _)| other.text == one.text).count())?;
    let alike: Vec<&(Fit, Profile)> = said.iter().filter(|(one, _)| one.text == first.text).collect();
    if alike.len() < AGREE || said.len() - alike.len() > alike.len() / 3 {
        return None;
    }
    let ((top, upper), (bottom, lower)) = (alike.first()?, alike.last()?);
    let corner = |fit: &Fit, profile: &Profile, sample: f32| {
        let _ = fit;
        let spot = profile.spot(sample);
        (spot.x, spot.y)
    };
    let mut corners = [
        corner(top, upper, top.start),
        corner(top, upper, top.end),
        corner(bottom, lower, bottom.end),
        corner(bottom, lower, bottom.start),
    ];
    // Clockwise from the text's own top left: read backwards, what was cut first is its lower side.
    let (along_x, along_y) = cutter.along();
    let turn = (corners[1].0 - corners[0].0) * along_y - (corners[1].1 - corners[0].1) * along_x;
    if turn < 0.0 {
        corners = [corners[3], corners[2], corners[1], corners[0]];
    }
    let modules = (top.end - top.start) / SAMPLES_A_PIXEL;
    Some(Bars::from_strips(first.text.clone(), Corners(corners), alike.len(), modules))
}
