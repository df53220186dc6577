//! The manager without prompts: what changes is told on stderr, one line each.

use std::sync::Arc;
use std::time::Duration;

use super::core::Core;
use crate::clock;
use crate::log;

/// Longest wait between two looks: the time-out of something that never rings.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Tells events for ever.
pub fn run(core: &Arc<Core>) -> ! {
    let fleet = core.fleet();
    let (agents, targets) = (fleet.agents.len(), fleet.targets.len());
    log::line(format_args!(
        "monitoring {targets} targets from {agents} agents"
    ));
    let mut told = core.events_before().last().map_or(0, |event| event.no);
    loop {
        let heard = core.bell().heard();
        let events = core.board().lock().expect("board").drain_events(told);
        for event in events {
            // Only so many are kept for those who look.
            let lost = event.no.saturating_sub(told + 1);
            if lost > 0 {
                log::line(format_args!(
                    "{lost} events are left out here: too many at once"
                ));
            }
            told = event.no;
            log::line(&event.text);
        }
        core.bell().wait(heard, clock::mono().after(LOOK_EVERY));
    }
}
