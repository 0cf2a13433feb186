//! How services reach each other: typed clients around the agent's.

use fuseboard_agent::grpc::GrpcClient;
use fuseboard_agent::http::{HttpClient, HttpError, HttpResponse};
use fuseboard_agent::tarpc::TarpcClient;
use fuseboard_agent::{Agent, AgentError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tonic::Status;

use crate::addresses::Addresses;
use crate::service::bank::{Authorization, Authorize, GiveBack, GivenBack};
use crate::store::StockError;
use crate::wire::orders_client::OrdersClient;
use crate::wire::payments_client::PaymentsClient;
use crate::wire::pricing_client::PricingClient;
use crate::wire::users_client::UsersClient;
use crate::wire::{InventoryClient, InventoryRequest, InventoryResponse};

/// Calls orders.
pub(crate) type OrdersStub = OrdersClient<GrpcClient>;
/// Calls payments.
pub(crate) type PaymentsStub = PaymentsClient<GrpcClient>;
/// Calls pricing.
pub(crate) type PricingStub = PricingClient<GrpcClient>;
/// Calls users.
pub(crate) type UsersStub = UsersClient<GrpcClient>;
/// Calls inventory.
pub(crate) type InventoryStub = InventoryClient<TarpcClient<InventoryRequest, InventoryResponse>>;

/// Makes the clients of one caller.
pub(crate) struct Clients<'a> {
    /// The caller's agent.
    pub(crate) agent: &'a Agent,
    /// Where everybody listens.
    pub(crate) addresses: &'a Addresses,
}

impl Clients<'_> {
    /// A client for orders. Placing is not repeatable: a second try would be a second order.
    pub(crate) fn orders(&self) -> Result<OrdersStub, AgentError> {
        let client = self.agent.grpc_client("orders", Addresses::urls(&self.addresses.orders))?;
        Ok(OrdersClient::new(client.idempotent(["shop.v1.Orders/Expire"])))
    }

    /// A client for payments. Both of its operations are keyed by the order, and repeatable.
    pub(crate) fn payments(&self) -> Result<PaymentsStub, AgentError> {
        let client = self.agent.grpc_client("payments", Addresses::urls(&self.addresses.payments))?;
        Ok(PaymentsClient::new(client.idempotent(["shop.v1.Payments/Charge", "shop.v1.Payments/Refund"])))
    }

    /// A client for pricing.
    pub(crate) fn pricing(&self) -> Result<PricingStub, AgentError> {
        let client = self.agent.grpc_client("pricing", Addresses::urls(&self.addresses.pricing))?;
        Ok(PricingClient::new(client.idempotent(["shop.v1.Pricing/Quote"])))
    }

    /// A client for users.
    pub(crate) fn users(&self) -> Result<UsersStub, AgentError> {
        let client = self.agent.grpc_client("users", Addresses::urls(&self.addresses.users))?;
        Ok(UsersClient::new(client.idempotent(["shop.v1.Users/Get"])))
    }

    /// A client for inventory. All of its operations are keyed by the order, and repeatable.
    pub(crate) fn inventory(&self) -> Result<InventoryStub, AgentError> {
        let client = self.agent.tarpc_client("inventory", &self.addresses.inventory)?;
        let client = client.idempotent(["Inventory/reserve", "Inventory/confirm", "Inventory/release"]);
        Ok(InventoryClient::from(client.judge(health)))
    }

    /// A client for the bank.
    pub(crate) fn bank(&self) -> Result<BankClient, AgentError> {
        let urls = Addresses::urls(&self.addresses.bank);
        let url = urls.first().ok_or_else(|| AgentError::NoAddress("bank".to_owned()))?;
        Ok(BankClient(self.agent.http_client("bank", url)?))
    }
}

/// An answer of an inventory that is not well counts as a failure; one about stock does not.
fn health(answer: &InventoryResponse) -> Option<&'static str> {
    let (InventoryResponse::Reserve(result) | InventoryResponse::Confirm(result) | InventoryResponse::Release(result)) =
        answer;
    matches!(result, Err(StockError::Failed(_))).then_some("unavailable")
}

/// Calls the bank.
#[derive(Clone)]
pub(crate) struct BankClient(HttpClient);

impl BankClient {
    /// Asks for an authorization.
    pub(crate) async fn authorize(&self, ask: &Authorize) -> Result<Authorization, Status> {
        self.post("/authorize", ask).await
    }

    /// Asks for money back.
    pub(crate) async fn refund(&self, ask: &GiveBack) -> Result<GivenBack, Status> {
        self.post("/refund", ask).await
    }

    /// Both routes are keyed by the order, and repeatable.
    async fn post<T: DeserializeOwned>(&self, route: &str, ask: &impl Serialize) -> Result<T, Status> {
        let answer = self.0.post(route).json(ask).idempotent(true).send().await;
        answer.and_then(HttpResponse::error_for_status).and_then(|answer| answer.json()).map_err(|error| {
            let message = format!("bank: {error}");
            match error {
                HttpError::TimedOut { .. } => Status::deadline_exceeded(message),
                HttpError::Json(_) | HttpError::TooLong | HttpError::Request(_) => Status::internal(message),
                _ => Status::unavailable(message),
            }
        })
    }
}
