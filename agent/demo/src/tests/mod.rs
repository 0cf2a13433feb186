//! The shop over real sockets, with nobody collecting.

mod sink;
mod telemetry;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::shop::{Shop, ShopConfig};
use crate::weather::{Failing, Place, Sky, Step, Trouble};

const TEA: &str = "tea-oolong-100";

/// A quiet shop whose agents find no collector.
async fn shop(change: impl FnOnce(&mut ShopConfig)) -> Shop {
    let mut config =
        ShopConfig { otlp: "http://127.0.0.1:9".to_owned(), control: None, declines: 0.0, ..ShopConfig::default() };
    change(&mut config);
    Shop::start(config).await.unwrap()
}

async fn checkout(gateway: SocketAddr, pay_later: bool) -> (u16, Value) {
    let body = json!({ "user": "u-1001", "lines": [{ "sku": TEA, "quantity": 3 }], "pay_later": pay_later });
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let reply = client.post(format!("http://{gateway}/checkout")).json(&body).send().await.unwrap();
    (reply.status().as_u16(), reply.json().await.unwrap())
}

fn tea_left(shop: &Shop) -> u32 {
    shop.launcher().shelf.left(TEA).unwrap()
}

/// Waits until something is so, at most 20 s.
async fn until(what: &str, is: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is() {
        assert!(begun.elapsed() < Duration::from_secs(20), "still waiting until {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_goes_through_every_service_and_is_paid_once() {
    let shop = shop(|_| {}).await;
    let before = tea_left(&shop);
    let (status, body) = checkout(shop.gateways()[0], false).await;
    assert_eq!((status, body["state"].as_str()), (201, Some("confirmed")), "{body}");
    let order = body["order"].as_str().unwrap().to_owned();
    assert_eq!(tea_left(&shop), before - 3);
    assert_eq!(shop.launcher().ledger.booked(&order), 3 * 1_290);
    let report = shop.report();
    assert_eq!((report.services, report.instances), (9, 14));
    assert_eq!(report.orders["confirmed"], 1);
    // users, orders, pricing, two of inventory, payments, bank; the notification may still be on its way.
    assert!(report.calls >= 7 && report.failures == 0, "{report:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_declined_payment_gives_the_stock_back() {
    let shop = shop(|config| config.declines = 1.0).await;
    let before = tea_left(&shop);
    let (status, body) = checkout(shop.gateways()[1], false).await;
    assert_eq!((status, body["state"].as_str()), (402, Some("cancelled")), "{body}");
    assert!(!body["reason"].as_str().unwrap().is_empty());
    assert_eq!(tea_left(&shop), before);
    assert_eq!(shop.launcher().ledger.booked(body["order"].as_str().unwrap()), 0);
    assert_eq!(shop.report().orders["declined"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bank_that_is_down_fails_the_order_and_gives_the_stock_back() {
    let shop = shop(|_| {}).await;
    let before = tea_left(&shop);
    let place = Place { service: "bank", instance: None };
    let trouble = Trouble { place, slower: Duration::ZERO, errors: 1.0, failing: Failing::Unavailable };
    let sky = Sky { troubles: vec![trouble], ..Sky::default() };
    shop.climate().set(Step { at: Duration::ZERO, sky, says: "the bank is down".to_owned() });
    let (status, body) = checkout(shop.gateways()[0], false).await;
    assert_eq!(status, 503, "{body}");
    assert_eq!(tea_left(&shop), before);
    assert_eq!(shop.report().orders["failed"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unpaid_order_times_out_and_gives_the_stock_back() {
    let shop = shop(|config| config.pay_within = Duration::from_millis(300)).await;
    let before = tea_left(&shop);
    let (status, body) = checkout(shop.gateways()[0], true).await;
    assert_eq!((status, body["state"].as_str()), (202, Some("awaiting_payment")), "{body}");
    until("the order has timed out", || shop.report().orders.contains_key("expired")).await;
    until("the stock is back", || tea_left(&shop) == before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkout_whose_visitor_hangs_up_leaves_nothing_behind() {
    let shop = shop(|_| {}).await;
    let before = tea_left(&shop);
    let place = Place { service: "payments", instance: None };
    let trouble = Trouble { place, slower: Duration::from_secs(60), errors: 0.0, failing: Failing::Unavailable };
    let sky = Sky { troubles: vec![trouble], ..Sky::default() };
    shop.climate().set(Step { at: Duration::ZERO, sky, says: "payments hangs".to_owned() });
    let hanging = tokio::spawn(checkout(shop.gateways()[0], false));
    until("stock is held", || tea_left(&shop) == before - 3).await;
    hanging.abort();
    let calm = Step { at: Duration::ZERO, sky: Sky::default(), says: "payments is back".to_owned() };
    shop.climate().set(calm);
    until("the stock is back", || tea_left(&shop) == before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_closing_shop_still_does_is_told() {
    let sink = sink::Sink::default();
    let otlp = sink.listen().await;
    let shop = shop(|config| config.otlp = otlp).await;
    let trouble = |service, slower, errors| {
        let place = Place { service, instance: None };
        Trouble { place, slower: Duration::from_millis(slower), errors, failing: Failing::Bug }
    };
    let sky = Sky { troubles: vec![trouble("payments", 200, 1.0)], ..Sky::default() };
    shop.climate().set(Step { at: Duration::ZERO, sky, says: "payments fails".to_owned() });
    let before = tea_left(&shop);
    let hanging = tokio::spawn(checkout(shop.gateways()[0], false));
    until("stock is held", || tea_left(&shop) < before).await;
    // Giving the stock back takes longer than the visitor waits for it.
    let sky = Sky { troubles: vec![trouble("payments", 200, 1.0), trouble("inventory", 150, 0.0)], ..Sky::default() };
    shop.climate().set(Step { at: Duration::ZERO, sky, says: "inventory is slow".to_owned() });
    until("the order is cancelled", || shop.report().orders.contains_key("failed")).await;
    hanging.abort();
    let report = shop.shutdown().await;
    assert_eq!(report.dropped, 0);
    let spans = sink.spans.lock().unwrap();
    let release = spans.iter().filter(|(service, span)| service == "orders" && span.name == "Inventory/release");
    assert_eq!(release.count(), 2, "the call and its attempt");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_takes_an_instances_place_and_gives_it_back() {
    let shop = shop(|_| {}).await;
    for version in [Some("2.5.0"), None] {
        shop.release(version).await.unwrap();
        assert_eq!(shop.report().instances, 14);
        // Six in a row reach all three instances of payments.
        for turn in 0..6 {
            let (status, body) = checkout(shop.gateways()[turn % 2], false).await;
            assert_eq!(status, 201, "with {version:?}: {body}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn visitors_come_at_their_rate_and_most_are_served() {
    let shop = shop(|config| config.rate = 20.0).await;
    shop.traffic().unwrap();
    until("120 visitors came", || shop.report().requests >= 120).await;
    let report = shop.report();
    let good = report.answers.iter().filter(|(status, _)| status.starts_with('2')).map(|(_, n)| n).sum::<u64>();
    assert!(good * 10 >= report.requests * 8, "{report:?}");
    assert!(report.calls > report.requests && report.orders["confirmed"] > 0, "{report:?}");
}

#[tokio::test]
async fn a_rate_that_is_none_is_refused() {
    let error = Shop::start(ShopConfig { rate: 0.0, ..ShopConfig::default() }).await.err().unwrap().to_string();
    assert!(error.contains("rate is 0"), "{error}");
}
