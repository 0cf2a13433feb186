//! `users`: accounts.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use crate::catalog;
use crate::instance::Instance;
use crate::wire::users_server::Users;
use crate::wire::{GetUserReply, GetUserRequest};

/// The gRPC service.
pub(crate) struct UsersService {
    /// This instance.
    pub(crate) me: Arc<Instance>,
}

#[tonic::async_trait]
impl Users for UsersService {
    async fn get(&self, request: Request<GetUserRequest>) -> Result<Response<GetUserReply>, Status> {
        let user = request.into_inner().user;
        self.me.work(4.0, 0.000_5).await?;
        match catalog::user_name(&user) {
            Some(name) => Ok(Response::new(GetUserReply { name: name.to_owned(), blocked: false })),
            None => Err(Status::not_found(format!("there is no user {user}"))),
        }
    }
}
