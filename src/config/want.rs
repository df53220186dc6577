//! What a port is to do, and by which addresses it is reached, as both configurations
//! say it.

use super::fields::Spot;
use crate::model::Want;
use crate::units::{Family, HostPort};

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

/// Reads which addresses are meant; an IP address has to be one of them.
pub fn read_family(address: &HostPort, spot: &mut Spot<'_, '_>) -> Family {
    let expected = "\"any\", \"4\" or \"6\" in quotes";
    let family: Family = spot.string(expected, str::parse).unwrap_or_default();
    if let Some(addr) = address.literal().filter(|addr| !family.has(addr.ip())) {
        let ip = addr.ip();
        spot.problem(|| format!("{ip} is not an address of IPv{}", family.as_str()));
    }
    family
}

/// The word, unless all are meant.
pub fn write_family(family: Family) -> Option<String> {
    (family != Family::Any).then(|| format!("\"{}\"", family.as_str()))
}
