//! `payments`: charges through the bank.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use crate::catalog;
use crate::clients::BankClient;
use crate::instance::{Instance, kv};
use crate::service::bank::{Authorize, GiveBack};
use crate::wire::payments_server::Payments;
use crate::wire::{ChargeReply, ChargeRequest, RefundReply, RefundRequest};

/// The gRPC service.
pub(crate) struct PaymentsService {
    /// This instance.
    pub(crate) me: Arc<Instance>,
    /// The bank.
    pub(crate) bank: BankClient,
}

#[tonic::async_trait]
impl Payments for PaymentsService {
    async fn charge(&self, request: Request<ChargeRequest>) -> Result<Response<ChargeReply>, Status> {
        let ChargeRequest { order, user, cents } = request.into_inner();
        self.me.work(5.0, 0.001).await.inspect_err(|mishap| {
            self.me.error(format!("cannot charge {order}: {mishap}"), &[kv("order", order.clone())]);
        })?;
        let ask = Authorize { user, order: order.clone(), cents };
        let answer = self.me.counters.called(self.bank.authorize(&ask).await).inspect_err(|status| {
            let about = [kv("order", order.clone()), kv("code", format!("{:?}", status.code()))];
            self.me.warn(format!("no authorization for {order}: {}", status.message()), &about);
        })?;
        if answer.approved {
            let about = [kv("order", order), kv("cents", i64::try_from(cents).unwrap_or(i64::MAX))];
            self.me.info(format!("charged {}", catalog::price(cents)), &about);
        }
        Ok(Response::new(ChargeReply { approved: answer.approved, reason: answer.reason }))
    }

    async fn refund(&self, request: Request<RefundRequest>) -> Result<Response<RefundReply>, Status> {
        self.me.work(4.0, 0.0).await?;
        let answer = self.bank.refund(&GiveBack { order: request.into_inner().order }).await;
        let answer = self.me.counters.called(answer)?;
        Ok(Response::new(RefundReply { cents: answer.cents }))
    }
}
