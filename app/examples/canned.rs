//! Draws the canned shop: `cargo run -p fuseboard --no-default-features --example canned -- board dark 1440x900 out.png`.
//! After the file a scene (trouble, rolling, reverted, crowd, empty, gone, waiting) and commands of the palette may follow.

use std::path::Path;

use fuseboard::{ThemeChoice, View, shot, testing};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let arg = |i: usize, default: &str| args.get(i).cloned().unwrap_or_else(|| default.to_owned());
    let view = View::named(&arg(0, "board")).ok_or("no such view")?;
    let theme = if arg(1, "dark") == "light" { ThemeChoice::Light } else { ThemeChoice::Dark };
    let size = arg(2, "1440x900");
    let (width, height) = size.split_once('x').ok_or("size as 1440x900")?;
    let picture = shot::Picture { size: [width.parse()?, height.parse()?], theme, ..Default::default() };
    let scene = match arg(4, "trouble").as_str() {
        "empty" => testing::Scene::Empty,
        "rolling" => testing::Scene::Rolling,
        "reverted" => testing::Scene::Reverted,
        "viewer" => testing::Scene::Viewer,
        "crowd" => testing::Scene::Crowd(500),
        "gone" => testing::Scene::Gone,
        "waiting" => testing::Scene::Waiting,
        _ => testing::Scene::Trouble,
    };
    let mut app = testing::scene(scene, view);
    for command in args.iter().skip(5) {
        if !app.perform(command) {
            return Err(format!("the palette has no “{command}”").into());
        }
    }
    shot::write_png(&shot::draw(&mut app, picture), Path::new(&arg(3, "/tmp/canned.png")))?;
    Ok(())
}
