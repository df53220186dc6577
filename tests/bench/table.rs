//! What a bench prints: figures beside their goals, as a table for people and documents.

/// Figures in the order they were measured.
#[derive(Default)]
pub struct Table(Vec<Row>);

struct Row {
    what: String,
    goal: String,
    measured: String,
    /// `None` where there is no goal.
    met: Option<bool>,
}

/// A number as people write it, with as many digits as say something.
pub fn number(value: f64) -> String {
    match value.abs() {
        v if v >= 10_000.0 => grouped(value.round() as i64),
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn grouped(value: i64) -> String {
    let digits = value.abs().to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    if value < 0 { format!("-{out}") } else { out }
}

impl Table {
    /// A figure that is to be no more than `goal`.
    pub fn at_most(&mut self, what: &str, unit: &str, goal: f64, measured: f64) {
        let goal_text = format!("≤ {} {unit}", number(goal));
        self.push(what, goal_text, unit, measured, Some(measured <= goal));
    }

    /// A figure that is to be no less than `goal`.
    pub fn at_least(&mut self, what: &str, unit: &str, goal: f64, measured: f64) {
        let goal_text = format!("≥ {} {unit}", number(goal));
        self.push(what, goal_text, unit, measured, Some(measured >= goal));
    }

    /// A figure without a goal.
    pub fn told(&mut self, what: &str, unit: &str, measured: f64) {
        self.push(what, String::new(), unit, measured, None);
    }

    /// A figure that could not be had, and why.
    pub fn left_out(&mut self, what: &str, why: &str) {
        eprintln!("  {what}: left out: {why}");
        self.0.push(Row {
            what: what.to_string(),
            goal: String::new(),
            measured: format!("left out: {why}"),
            met: None,
        });
    }

    fn push(&mut self, what: &str, goal: String, unit: &str, measured: f64, met: Option<bool>) {
        let measured = format!("{} {unit}", number(measured));
        let word = match met {
            Some(true) => "met",
            Some(false) => "NOT MET",
            None => "",
        };
        // As it comes, for whoever waits.
        eprintln!("  {what}: {measured} {word}");
        self.0.push(Row {
            what: what.to_string(),
            goal: goal.trim_end().to_string(),
            measured: measured.trim_end().to_string(),
            met,
        });
    }

    /// The whole table.
    pub fn print(&self) {
        println!("| figure | goal | measured | met |");
        println!("|---|---|---|---|");
        for row in &self.0 {
            let met = match row.met {
                Some(true) => "yes",
                Some(false) => "**no**",
                None => "",
            };
            println!("| {} | {} | {} | {met} |", row.what, row.goal, row.measured);
        }
        let with_goal = self.0.iter().filter_map(|row| row.met);
        let met = with_goal.clone().filter(|met| *met).count();
        println!("\n{met} of {} goals met", with_goal.count());
    }
}
