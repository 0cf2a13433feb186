//! A field that offers names while one types.

use egui::{Key, Popup, PopupCloseBehavior, Ui};

use crate::widgets::{field, text, tokens};

/// Names offered at most.
const MOST: usize = 9;

/// A field named `name`; `true` when its value was settled: Enter, a choice, or the field was left. `open` remembers whether
/// the names are shown.
pub(crate) fn complete<'a>(
    ui: &mut Ui,
    (name, hint): (&str, &str),
    value: &mut String,
    open: &mut bool,
    width: f32,
    names: impl Iterator<Item = &'a str>,
) -> bool {
    let before = value.clone();
    let response = field::text_field_sized(ui, name, hint, value, width);
    if response.gained_focus() || response.changed() {
        *open = true;
    }
    let wanted = value.to_lowercase();
    let mut settled = response.lost_focus() && !*open;
    let offers: Vec<&str> = names.filter(|n| n.to_lowercase().contains(&wanted) && *n != value).take(MOST).collect();
    if response.lost_focus() && ui.input(|i| i.key_pressed(Key::Enter) || i.key_pressed(Key::Tab)) {
        *open = false;
        settled = true;
    }
    if ui.input(|i| i.key_pressed(Key::Escape)) {
        *open = false;
    }
    let mut chosen: Option<String> = None;
    if *open && !offers.is_empty() {
        let mut still = true;
        Popup::from_response(&response)
            .id(response.id.with("names"))
            .open_bool(&mut still)
            .close_behavior(PopupCloseBehavior::CloseOnClickOutside)
            .show(|ui| {
                ui.set_min_width(width.max(160.0));
                for offer in &offers {
                    let words = egui::RichText::new(*offer).font(text::body_font()).color(tokens(ui).text);
                    if ui.selectable_label(false, words).clicked() {
                        chosen = Some((*offer).to_owned());
                    }
                }
            });
        // A press in the field itself keeps the names.
        if !still && !response.has_focus() {
            *open = false;
            settled = true;
        }
    } else if response.lost_focus() {
        *open = false;
        settled = true;
    }
    if let Some(chosen) = chosen {
        *value = chosen;
        *open = false;
        settled = true;
    }
    settled || (before != *value && value.is_empty())
}
