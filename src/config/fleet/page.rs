//! How the status page presents itself, and what of it is not for everyone.

use super::names::read_patterns;
use super::{list_of, string};
use crate::config::fields::{Key, Presence, Spot};
use crate::config::{PAGE_NOTE_LEN_MAX, PAGE_TITLE_LEN_MAX};
use crate::model::Name;
use crate::quiet::Pattern;

/// What the fleet file says of the status page.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PageSettings {
    /// `None`: the program's name.
    pub title: Option<String>,
    /// A line below the title; may be empty.
    pub note: String,
    /// Targets that only who may see everything sees.
    pub hide: Vec<Pattern>,
}

impl PageSettings {
    /// Whether a target is not for everyone.
    pub fn hides(&self, target: &Name) -> bool {
        self.hide
            .iter()
            .any(|pattern| pattern.matches(target.as_str()))
    }
}

pub(super) static PAGE: [Key<PageSettings>; 3] = [
    Key {
        name: "title",
        presence: Presence::Optional,
        read: |page, spot| {
            page.title = spot.string("a text", |text| line(text, PAGE_TITLE_LEN_MAX))
        },
        write: |page| page.title.as_deref().map(string),
    },
    Key {
        name: "note",
        presence: Presence::Optional,
        read: |page, spot| {
            let note = spot.string("a text", |text| line(text, PAGE_NOTE_LEN_MAX));
            page.note = note.unwrap_or_default();
        },
        write: |page| (!page.note.is_empty()).then(|| string(&page.note)),
    },
    Key {
        name: "hide",
        presence: Presence::Optional,
        read: |page, spot| page.hide = read_patterns(spot),
        write: |page| (!page.hide.is_empty()).then(|| list_of(&page.hide)),
    },
];

fn line(text: &str, len_max: usize) -> Result<String, String> {
    let fits = !text.trim().is_empty() && text.len() <= len_max && !text.contains(char::is_control);
    let expected = || format!("expected one line of at most {len_max} bytes");
    fits.then(|| text.to_string()).ok_or_else(expected)
}

pub(super) fn read_page(page: &mut PageSettings, spot: &mut Spot<'_, '_>) {
    spot.object(page, &PAGE);
}
