//! Alerts on their way to people: one message, handed to one receiver. What is told, when,
//! and how often it is tried again is not decided here.

pub mod deliver;
pub mod forms;
pub mod run;

#[cfg(test)]
mod examples;
