//! Tables: only the rows in sight are painted, rows are reached by keyboard, columns are resizable.

use egui::{Align, Key, Layout, Response, Role, Sense, Ui, WidgetInfo};
use egui_extras::{Column as Sizing, TableBuilder};

use super::{space, text, tokens};

/// A column of a table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column<'a> {
    /// Its head.
    pub(crate) head: &'a str,
    /// Its width at first; 0 takes what is left (at most one column).
    pub(crate) width: f32,
    /// Whether it stands at the right, as figures do.
    pub(crate) right: bool,
}

impl<'a> Column<'a> {
    /// Words.
    pub(crate) fn words(head: &'a str, width: f32) -> Self {
        Self { head, width, right: false }
    }

    /// Figures.
    pub(crate) fn figures(head: &'a str, width: f32) -> Self {
        Self { head, width, right: true }
    }
}

/// What a person did to a table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Touched {
    /// The row that was clicked, or moved to by the arrow keys.
    pub(crate) chosen: Option<usize>,
    /// The row that was double-clicked, or chosen when Enter was pressed.
    pub(crate) opened: Option<usize>,
    /// The head that was clicked, for sorting.
    pub(crate) head: Option<usize>,
}

/// A table of `rows` rows; `cell` paints one.
#[must_use]
pub(crate) struct Table<'a> {
    id: &'a str,
    columns: &'a [Column<'a>],
    rows: usize,
    chosen: Option<usize>,
    sorted: Option<(usize, bool)>,
    row_height: f32,
    scroll_to: Option<usize>,
}

impl<'a> Table<'a> {
    /// `id` names it, also for those who cannot see it.
    pub(crate) fn new(id: &'a str, columns: &'a [Column<'a>], rows: usize) -> Self {
        Self { id, columns, rows, chosen: None, sorted: None, row_height: space::ROW, scroll_to: None }
    }

    /// With a chosen row.
    pub(crate) fn chosen(mut self, row: Option<usize>) -> Self {
        self.chosen = row;
        self
    }

    /// With an arrow beside a head: (column, downwards).
    pub(crate) fn sorted(mut self, sorted: Option<(usize, bool)>) -> Self {
        self.sorted = sorted;
        self
    }

    /// With rows of another height.
    pub(crate) fn row_height(mut self, height: f32) -> Self {
        self.row_height = height;
        self
    }

    /// Scrolls so that a row is in sight.
    pub(crate) fn scroll_to(mut self, row: Option<usize>) -> Self {
        self.scroll_to = row;
        self
    }

    /// Paints it into the room that is left. `name` names a row in words; `cell` paints (row, column).
    pub(crate) fn show(
        self,
        ui: &mut Ui,
        name: impl Fn(usize) -> String,
        mut cell: impl FnMut(&mut Ui, usize, usize),
    ) -> Touched {
        let mut touched = Touched::default();
        let t = tokens(ui);
        let mut scroll_to = self.scroll_to;
        let focus_id = ui.scope_id().with((self.id, "focus"));
        let area = ui.available_rect_before_wrap();
        let focus = ui.interact(area, focus_id, Sense::focusable_noninteractive());
        focus.widget_info(|| WidgetInfo::labeled(Role::Table, true, self.id));
        if focus.has_focus() {
            scroll_to = self.keys(ui, focus_id, &mut touched).or(scroll_to);
        }
        ui.push_id(self.id, |ui| {
            ui.spacing_mut().item_spacing = egui::vec2(12.0, 0.0);
            // Calm at rest: no lines between columns until one is resized, the chosen row as a raised one.
            let visuals = ui.visuals_mut();
            visuals.widgets.noninteractive.bg_stroke = egui::Stroke::NONE;
            visuals.selection.bg_fill = t.pressed;
            let mut builder = TableBuilder::new(ui)
                .sense(Sense::click())
                .auto_shrink([false, false])
                .cell_layout(Layout::left_to_right(Align::Center));
            for column in self.columns {
                builder = builder.column(if column.width > 0.0 {
                    Sizing::initial(column.width).at_least(32.0).clip(true).resizable(true)
                } else {
                    Sizing::remainder().at_least(80.0).clip(true)
                });
            }
            if let Some(row) = scroll_to {
                builder = builder.scroll_to_row(row, None);
            }
            let table = builder.header(24.0, |mut header| {
                for (i, column) in self.columns.iter().enumerate() {
                    header.col(|ui| {
                        if head(ui, column, self.sorted.filter(|s| s.0 == i).map(|s| s.1)).clicked() {
                            touched.head = Some(i);
                        }
                    });
                }
            });
            table.body(|body| {
                body.rows(self.row_height, self.rows, |mut row| {
                    let i = row.index();
                    row.set_selected(self.chosen == Some(i));
                    for (c, column) in self.columns.iter().enumerate() {
                        row.col(|ui| {
                            if column.right {
                                ui.with_layout(Layout::right_to_left(Align::Center), |ui| cell(ui, i, c));
                            } else {
                                cell(ui, i, c);
                            }
                        });
                    }
                    let response = row.response();
                    response.widget_info(|| WidgetInfo::selected(Role::Row, true, self.chosen == Some(i), name(i)));
                    if response.clicked() {
                        touched.chosen = Some(i);
                        focus.request_focus();
                    }
                    if response.double_clicked() {
                        touched.opened = Some(i);
                    }
                });
            });
        });
        if focus.has_focus() {
            let ring = egui::Stroke::new(1.0, t.accent);
            ui.painter().rect_stroke(
                area.expand2(egui::vec2(10.0, 2.0)),
                space::RADIUS,
                ring,
                egui::StrokeKind::Inside,
            );
        }
        touched
    }

    /// Arrow keys, Home, End and Enter; gives the row to bring into sight.
    fn keys(&self, ui: &Ui, id: egui::Id, touched: &mut Touched) -> Option<usize> {
        let lock = egui::EventFilter { vertical_arrows: true, ..Default::default() };
        ui.memory_mut(|m| m.set_focus_lock_filter(id, lock));
        let last = self.rows.checked_sub(1)?;
        let page = 10;
        let pressed = |k| ui.input(|i| i.key_pressed(k));
        let to = match self.chosen {
            _ if pressed(Key::Home) => Some(0),
            _ if pressed(Key::End) => Some(last),
            Some(i) if pressed(Key::ArrowDown) => Some((i + 1).min(last)),
            Some(i) if pressed(Key::ArrowUp) => Some(i.saturating_sub(1)),
            Some(i) if pressed(Key::PageDown) => Some((i + page).min(last)),
            Some(i) if pressed(Key::PageUp) => Some(i.saturating_sub(page)),
            None if pressed(Key::ArrowDown) => Some(0),
            _ => None,
        };
        if pressed(Key::Enter) {
            touched.opened = self.chosen;
        }
        touched.chosen = to;
        to
    }
}

fn head(ui: &mut Ui, column: &Column<'_>, sorted: Option<bool>) -> Response {
    let t = tokens(ui);
    let words = match sorted {
        Some(true) => format!("{} ↓", column.head),
        Some(false) => format!("{} ↑", column.head),
        None => column.head.to_owned(),
    };
    let layout = if column.right { Layout::right_to_left(Align::Center) } else { Layout::left_to_right(Align::Center) };
    ui.with_layout(layout, |ui| {
        let color = if sorted.is_some() { t.text } else { t.label };
        let label = egui::Label::new(egui::RichText::new(&words).font(text::label_font()).color(color));
        let response = ui.add(label.truncate().sense(Sense::click()));
        response.widget_info(|| WidgetInfo::labeled(Role::ColumnHeader, true, column.head));
        response
    })
    .inner
}
