//! How an edit is to reach the instances: all at once or by stages, what watches it, and until when it must be confirmed.

use std::time::Duration;

use egui::Ui;
use fuseboard_api::rollout::{Delivery, Guard, Measure, Stage};

use crate::views::rollout::words;
use crate::widgets::{button, format, space, text, tokens};

/// How it goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum How {
    /// To everyone at once.
    #[default]
    AtOnce,
    /// By stages, with what is usual.
    Staged,
}

/// A plan before it is sent.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plan {
    how: How,
    shares: &'static [f64],
    bake: Duration,
    guards: Vec<Measure>,
    confirm: Option<Duration>,
    /// Whether the particulars are shown.
    open: bool,
}

const SHARES: [(&[f64], &str); 4] = [
    (&[0.01, 0.1, 0.5, 1.0], "1 · 10 · 50 · 100%"),
    (&[0.1, 0.5, 1.0], "10 · 50 · 100%"),
    (&[0.25, 1.0], "25 · 100%"),
    (&[0.5, 1.0], "50 · 100%"),
];
const BAKES: [(u64, &str); 4] = [(30, "30 s"), (120, "2 min"), (300, "5 min"), (900, "15 min")];
const CONFIRMS: [(Option<u64>, &str); 5] =
    [(None, "no"), (Some(300), "5 min"), (Some(900), "15 min"), (Some(1800), "30 min"), (Some(3600), "1 h")];

impl Default for Plan {
    fn default() -> Self {
        Self {
            how: How::AtOnce,
            shares: SHARES[0].0,
            bake: Duration::from_secs(120),
            guards: vec![Measure::Errors, Measure::P99, Measure::Refused],
            confirm: None,
            open: false,
        }
    }
}

impl Plan {
    /// What the collector is told.
    pub(crate) fn delivery(&self) -> Delivery {
        let confirm_within_ms = self.confirm.map(|d| d.as_millis() as u64);
        if self.how == How::AtOnce {
            return Delivery { confirm_within_ms, ..Delivery::default() };
        }
        let bake_ms = self.bake.as_millis() as u64;
        Delivery {
            stages: self.shares.iter().map(|share| Stage { share: *share, bake_ms }).collect(),
            guards: Guard::usual().into_iter().filter(|g| self.guards.contains(&g.measure)).collect(),
            confirm_within_ms,
            ..Delivery::default()
        }
    }

    /// Whether it goes out by stages.
    pub(crate) fn is_staged(&self) -> bool {
        self.how == How::Staged
    }

    /// Least time until everyone has it and all is well.
    fn takes(&self) -> Duration {
        self.bake * self.shares.len() as u32
    }

    /// Instances of each stage, as far as is known: each service gives at least one. `services` holds their numbers.
    fn steps(&self, services: &[u32]) -> Vec<u32> {
        let of = |share: f64| services.iter().map(|n| ((f64::from(*n) * share).ceil() as u32).clamp(1, *n)).sum();
        self.shares.iter().map(|share| of(*share)).collect()
    }

    /// What is wrong with it, a sentence.
    pub(crate) fn trouble(&self) -> Option<String> {
        let within = self.confirm.filter(|_| self.is_staged())?;
        (within <= self.takes()).then(|| {
            let (within, takes) = (format::duration(within), format::duration(self.takes()));
            format!("The stages take {takes} at least: within {within} it would be taken back before it is everywhere.")
        })
    }
}

/// Paints the choice; `services` holds the number of connected instances of each service that is reached.
pub(super) fn show(ui: &mut Ui, plan: &mut Plan, services: &[u32]) {
    text::secondary(ui, "Delivery");
    let before = plan.how;
    button::segmented(ui, "Delivery", &mut plan.how, &[(How::AtOnce, "All at once"), (How::Staged, "Staged, safe")]);
    if plan.how != before {
        // One click gives the safe way whole: stages, guards, and a change that nobody confirms goes back by itself.
        plan.confirm = plan.is_staged().then_some(Duration::from_secs(1800));
    }
    ui.add_space(4.0);
    if plan.is_staged() {
        staged(ui, plan, services);
    } else {
        text::note(ui, "Every instance takes it within milliseconds. Nothing compares before and after.");
    }
    confirm(ui, plan);
    if let Some(why) = plan.trouble() {
        text::wrapped(ui, why, text::secondary_font(), tokens(ui).at_risk);
    }
    ui.add_space(space::NEAR);
}

fn staged(ui: &mut Ui, plan: &mut Plan, services: &[u32]) {
    let steps: Vec<String> = plan.steps(services).iter().map(u32::to_string).collect();
    let all: u32 = services.iter().sum();
    if all > 0 {
        let words = format!("{} of {all} instances, {} at least", steps.join(" → "), format::duration(plan.takes()));
        text::styled(ui, words, text::mono_font(11.5), tokens(ui).text);
    }
    let watched: Vec<&str> = plan.guards.iter().map(|m| words::measure(*m)).collect();
    let watched = match watched.as_slice() {
        [] => "No guard watches: only time decides.".to_owned(),
        list => {
            format!("Taken back from everyone when {} of the changed grow worse than the others'.", list.join(", "))
        }
    };
    text::note(ui, watched);
    let link = if plan.open { "Fewer particulars" } else { "Stages, time and guards" };
    if button::link(ui, link).clicked() {
        plan.open = !plan.open;
    }
    if !plan.open {
        return;
    }
    chips(ui, "Stages", &SHARES, &mut plan.shares);
    let mut seconds = plan.bake.as_secs();
    chips(ui, "Each bakes", &BAKES, &mut seconds);
    plan.bake = Duration::from_secs(seconds);
    text::label(ui, "Guards");
    ui.horizontal_wrapped(|ui| {
        for guard in Guard::usual() {
            let mut on = plan.guards.contains(&guard.measure);
            if button::toggle(ui, words::measure(guard.measure), &mut on) {
                plan.guards.retain(|m| *m != guard.measure);
                if on {
                    plan.guards.push(guard.measure);
                    plan.guards.sort();
                }
            }
        }
    });
}

fn confirm(ui: &mut Ui, plan: &mut Plan) {
    let mut seconds = plan.confirm.map(|d| d.as_secs());
    chips(ui, "Goes back by itself unless confirmed within", &CONFIRMS, &mut seconds);
    plan.confirm = seconds.map(Duration::from_secs);
}

/// One of some words under a label, wrapped where the room ends.
fn chips<T: PartialEq + Copy>(ui: &mut Ui, name: &str, options: &[(T, &str)], value: &mut T) {
    text::label(ui, name);
    ui.scope(|ui| {
        ui.spacing_mut().item_spacing = egui::vec2(6.0, 6.0);
        ui.horizontal_wrapped(|ui| {
            for (option, words) in options {
                let kind = if option == value { button::Kind::Chosen } else { button::Kind::Quiet };
                let chip = button::Button::new(words).kind(kind).small().show(ui);
                if chip.accessible_name(format!("{name}: {words}")).clicked() {
                    *value = *option;
                }
            }
        });
    });
    ui.add_space(4.0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_safe_way_has_stages_guards_and_an_end() {
        let plan = Plan { how: How::Staged, confirm: Some(Duration::from_secs(1800)), ..Plan::default() };
        let delivery = plan.delivery();
        assert_eq!(delivery.stages.iter().map(|s| s.share).collect::<Vec<_>>(), [0.01, 0.1, 0.5, 1.0]);
        assert_eq!((delivery.guards.len(), delivery.confirm_within_ms), (3, Some(1_800_000)));
        assert_eq!(plan.steps(&[2, 100]), [2, 11, 51, 102], "every service gives at least one");
        assert_eq!(plan.trouble(), None);
        let hasty = Plan { confirm: Some(Duration::from_secs(300)), ..plan };
        assert!(hasty.trouble().is_some(), "it would lapse before it is everywhere");
        assert_eq!(Plan::default().delivery(), Delivery::default());
    }
}
