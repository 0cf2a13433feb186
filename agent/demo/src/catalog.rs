//! What the shop sells and to whom.

use rand::Rng;

/// One product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Product {
    /// Stock-keeping unit; the id in URLs.
    pub(crate) sku: &'static str,
    /// Its name for people.
    pub(crate) name: &'static str,
    /// Price of one, in cents.
    pub(crate) cents: u64,
}

const fn product(sku: &'static str, name: &'static str, cents: u64) -> Product {
    Product { sku, name, cents }
}

/// Everything on sale, best sellers first.
pub(crate) const PRODUCTS: [Product; 16] = [
    product("tea-oolong-100", "Oolong tea, 100 g", 1_290),
    product("mug-stone-blue", "Stoneware mug, blue", 1_850),
    product("kettle-goose-09", "Gooseneck kettle, 0.9 l", 6_900),
    product("beans-huila-250", "Huila coffee beans, 250 g", 1_150),
    product("filter-v60-100", "Paper filters, 100", 590),
    product("grinder-hand-48", "Hand grinder, 48 mm burr", 11_900),
    product("scale-drip-2k", "Drip scale, 2 kg", 3_990),
    product("carafe-600", "Glass carafe, 600 ml", 2_450),
    product("honey-linden-500", "Linden honey, 500 g", 990),
    product("biscuit-almond-200", "Almond biscuits, 200 g", 520),
    product("tray-walnut-30", "Walnut tray, 30 cm", 4_200),
    product("whisk-bamboo", "Bamboo whisk", 1_680),
    product("matcha-uji-40", "Uji matcha, 40 g", 2_600),
    product("tin-airtight-1l", "Airtight tin, 1 l", 1_390),
    product("thermos-750", "Thermos flask, 750 ml", 3_480),
    product("espresso-lever-1", "Lever espresso machine", 64_900),
];

/// Everyone with an account.
pub(crate) const USERS: [(&str, &str); 20] = [
    ("u-1001", "Ada Nwosu"),
    ("u-1002", "Bruno Keller"),
    ("u-1003", "Chen Lihua"),
    ("u-1004", "Dana Ortiz"),
    ("u-1005", "Elif Aydin"),
    ("u-1006", "Farid Haddad"),
    ("u-1007", "Greta Lund"),
    ("u-1008", "Hiro Tanaka"),
    ("u-1009", "Ines Duarte"),
    ("u-1010", "Jonas Weber"),
    ("u-1011", "Kavya Rao"),
    ("u-1012", "Liam Byrne"),
    ("u-1013", "Mira Novak"),
    ("u-1014", "Nils Berg"),
    ("u-1015", "Olga Petrova"),
    ("u-1016", "Pablo Reyes"),
    ("u-1017", "Qiu Wen"),
    ("u-1018", "Rosa Marin"),
    ("u-1019", "Sami Virtanen"),
    ("u-1020", "Tess Moreau"),
];

/// The product with a SKU.
pub(crate) fn product_of(sku: &str) -> Option<&'static Product> {
    PRODUCTS.iter().find(|product| product.sku == sku)
}

/// The name of a user.
pub(crate) fn user_name(id: &str) -> Option<&'static str> {
    USERS.iter().find(|(user, _)| *user == id).map(|(_, name)| *name)
}

/// A product as people buy them: the first ones far more often than the last.
pub(crate) fn any_product(dice: &mut impl Rng) -> &'static Product {
    let skewed: f64 = dice.random::<f64>().powi(2);
    let index = (skewed * PRODUCTS.len() as f64) as usize;
    &PRODUCTS[index.min(PRODUCTS.len() - 1)]
}

/// Somebody with an account.
pub(crate) fn any_user(dice: &mut impl Rng) -> &'static str {
    USERS[dice.random_range(0..USERS.len())].0
}

/// Cents as people read them.
pub(crate) fn price(cents: u64) -> String {
    format!("{}.{:02} €", cents / 100, cents % 100)
}
