//! The pages of a manager that has seen something.
