//! Calls to the control plane: one connection, a deadline on every call, failures by type.

use std::{future::Future, time::Duration};

use proto::v1::management_client::ManagementClient;
use tonic::{
    Response, Status,
    transport::{Channel, Endpoint},
};

use crate::{
    args::Global,
    failure::{self, Failure},
    name,
};

/// The longest answer that is read; a fleet of ten thousand backends stays below it.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// A connection to a control plane; clones share it.
#[derive(Clone)]
pub struct Client {
    rpc: ManagementClient<Channel>,
    url: String,
    timeout: Duration,
}

impl Client {
    /// Connects to `--control` within `--timeout`.
    ///
    /// # Errors
    /// [`Failure::Input`] for a URL that is none, [`Failure::Unreachable`] or [`Failure::Late`] when nobody answers.
    pub async fn connect(global: &Global) -> Result<Client, Failure> {
        let url = name::complete(&global.control);
        if !url.starts_with("http://") {
            return Err(Failure::Input(format!("--control {url}: a URL that starts with http:// is wanted")));
        }
        let endpoint = Endpoint::from_shared(url.clone())
            .map_err(|error| Failure::Input(format!("--control {url}: {error}")))?
            .connect_timeout(global.timeout);
        let channel = match tokio::time::timeout(global.timeout, endpoint.connect()).await {
            Err(_) => return Err(Failure::Late { url, after: global.timeout }),
            Ok(Err(error)) => return Err(Failure::Unreachable { url, reason: failure::innermost(&error) }),
            Ok(Ok(channel)) => channel,
        };
        let rpc = ManagementClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX);
        Ok(Client { rpc, url, timeout: global.timeout })
    }

    /// The generated client, to make one call with.
    pub fn rpc(&self) -> ManagementClient<Channel> {
        self.rpc.clone()
    }

    /// Waits for a call, `--timeout` at most.
    ///
    /// # Errors
    /// The [`Failure`] of its status, or [`Failure::Late`].
    pub async fn answer<T>(
        &self,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Failure> {
        match tokio::time::timeout(self.timeout, call).await {
            Err(_) => Err(Failure::Late { url: self.url.clone(), after: self.timeout }),
            Ok(Err(status)) => Err(Failure::from_status(&status, &self.url)),
            Ok(Ok(response)) => Ok(response.into_inner()),
        }
    }
}
