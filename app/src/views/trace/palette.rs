//! Colours of services: the same name has the same colour everywhere, and two services of one trace differ while there are
//! colours left. Red is not among them: it means failed.

use egui::Color32;

const COLORS: [Color32; 10] = [
    Color32::from_rgb(0x6C, 0xB2, 0xFF),
    Color32::from_rgb(0x4C, 0xC3, 0x8A),
    Color32::from_rgb(0xE3, 0x9A, 0x63),
    Color32::from_rgb(0x8E, 0x93, 0xF5),
    Color32::from_rgb(0x55, 0xB9, 0xC4),
    Color32::from_rgb(0xD9, 0xB2, 0x4A),
    Color32::from_rgb(0xC5, 0x94, 0xE8),
    Color32::from_rgb(0x8F, 0xBF, 0x5F),
    Color32::from_rgb(0xE5, 0x8F, 0xB5),
    Color32::from_rgb(0x96, 0xA6, 0xBA),
];

/// Words on a bar of any of the colours, in both themes.
pub(crate) const ON_BAR: Color32 = Color32::from_rgb(0x0A, 0x0E, 0x13);

/// The colour of each of `services`.
pub(crate) fn colors(services: &[String]) -> Vec<Color32> {
    let mut sorted: Vec<usize> = (0..services.len()).collect();
    sorted.sort_by(|a, b| services[*a].cmp(&services[*b]));
    let mut taken = [false; COLORS.len()];
    let mut colors = vec![COLORS[0]; services.len()];
    for i in sorted {
        let wish = hash(&services[i]) as usize % COLORS.len();
        if taken.iter().all(|t| *t) {
            taken = [false; COLORS.len()];
        }
        let seat = (0..COLORS.len()).map(|step| (wish + step) % COLORS.len()).find(|s| !taken[*s]).unwrap_or(wish);
        taken[seat] = true;
        colors[i] = COLORS[seat];
    }
    colors
}

/// FNV-1a, 32 bits.
fn hash(name: &str) -> u32 {
    name.bytes().fold(0x811C_9DC5, |h, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_of_one_trace_differ_and_keep_their_colour() {
        let names: Vec<String> = ["gateway", "orders", "payments", "inventory", "users"].map(str::to_owned).into();
        let all = colors(&names);
        let different: std::collections::HashSet<_> = all.iter().collect();
        assert_eq!(different.len(), names.len());
        let turned: Vec<String> = names.iter().rev().cloned().collect();
        assert_eq!(colors(&turned).into_iter().rev().collect::<Vec<_>>(), all);
        assert_eq!(colors(&vec!["x".to_owned(); 30]).len(), 30);
    }
}
