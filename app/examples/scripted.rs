//! Draws the canned shop after some keys and clicks:
//! `cargo run -p fuseboard --no-default-features --example scripted -- breakers dark 1440x900 out.png key:Down key:O`.
//! Steps: `key:NAME`, `click:PART OF AN ACCESSIBLE NAME`, `focus:PART OF AN ACCESSIBLE NAME`, `type:TEXT`.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

use egui_kittest::kittest::Queryable;
use egui_kittest::{Harness, TestRenderer};
use fuseboard::raster::{self, Textures};
use fuseboard::{ThemeChoice, View, shot, testing};

/// Keeps the textures that the picture needs.
struct Keeper(Rc<RefCell<Textures>>);

impl TestRenderer for Keeper {
    fn handle_delta(&mut self, delta: &mut egui::TexturesDelta) {
        self.0.borrow_mut().set(delta);
        delta.clear();
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [view, theme, size, path, steps @ ..] = args.as_slice() else {
        return Err("needs: view theme size path [steps…]".into());
    };
    let view = View::named(view).ok_or("no such view")?;
    let (width, height) = size.split_once('x').ok_or("size as 1440x900")?;
    let (width, height): (f32, f32) = (width.parse()?, height.parse()?);
    let scene = match std::env::var("SCENE").as_deref() {
        Ok("viewer") => testing::Scene::Viewer,
        Ok("stranger") => testing::Scene::Stranger,
        Ok("rolling") => testing::Scene::Rolling,
        _ => testing::Scene::Trouble,
    };
    let mut app = testing::scene(scene, view);
    app.set_theme(if theme == "light" { ThemeChoice::Light } else { ThemeChoice::Dark });
    let textures = Rc::new(RefCell::new(Textures::default()));
    let mut harness = Harness::builder()
        .with_size([width, height])
        .with_theme(if theme == "light" { egui::Theme::Light } else { egui::Theme::Dark })
        .renderer(Keeper(Rc::clone(&textures)))
        .build_ui_state(
            |ui, app: &mut fuseboard::app::App| {
                app.step(ui.ctx());
                app.paint(ui);
            },
            app,
        );
    harness.run_steps(4);
    for step in steps {
        match step.split_once(':') {
            Some(("key", name)) => harness.key_press(egui::Key::from_name(name).ok_or("no such key")?),
            Some(("click", name)) => harness.get_by_label_contains(name).click(),
            Some(("focus", name)) => harness.get_by_label_contains(name).focus(),
            Some(("type", text)) => harness.event(egui::Event::Text(text.to_owned())),
            _ => return Err(format!("what is {step:?}?").into()),
        }
        harness.run_steps(3);
    }
    let shapes = harness.output().shapes.clone();
    let primitives = harness.ctx.tessellate(shapes, 1.0);
    let image =
        raster::draw(&primitives, &textures.borrow(), [width as usize, height as usize], 1.0, egui::Color32::BLACK);
    shot::write_png(&image, Path::new(path))?;
    Ok(())
}
