//! What a port is to do, as both configurations say it.

use super::fields::Spot;
use crate::model::Want;

/// Reads one of the three words.
pub fn read_want(spot: &mut Spot<'_, '_>) -> Want {
    let expected = "\"open\", \"refused\" or \"closed\"";
    spot.string(expected, str::parse).unwrap_or_default()
}

/// The word, unless it is what a port is to do anyway.
pub fn write_want(want: Want) -> Option<String> {
    (want != Want::Open).then(|| format!("\"{}\"", want.as_str()))
}

/// Why such a port has no script.
pub fn script_of_shut(want: Want) -> String {
    let want = want.as_str();
    format!("a port that is to be {want} has nobody to talk to; remove one of the two")
}
