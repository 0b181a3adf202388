//! What the handlers of endpoints share: the key of secrets, the client of test deliveries, and the
//! database for replays.

use std::sync::Arc;

use tokio::sync::Semaphore;
use uuid::Uuid;

use super::client::DeliveryClient;
use super::connections::Connections;
use super::courier::Courier;
use super::delivery::DeliveryAttempt;
use super::dispatcher::Dispatcher;
use super::endpoint::{EndpointRules, EventEndpoint};
use super::event;
use super::input::ReplayRequest;
use super::replay::Replay;
use super::secrets::SecretBox;
use crate::auth::{Actor, Scope};
use crate::error::ApiError;
use crate::input::date;
use crate::shutdown::Shutdown;
use crate::store::{Database, within_limit};

/// The most test deliveries of an instance at once.
const MAX_TESTS: usize = 16;

/// What the handlers of endpoints share.
#[derive(Clone)]
pub struct Webhooks {
    secrets: Arc<SecretBox>,
    client: DeliveryClient,
    database: Database,
    tests: Arc<Semaphore>,
}

impl Webhooks {
    /// Returns the webhooks of a service that sends by this client.
    pub fn new(database: &Database, secrets: SecretBox, client: DeliveryClient) -> Self {
        let tests = Arc::new(Semaphore::new(MAX_TESTS));
        Self { secrets: Arc::new(secrets), client, database: database.clone(), tests }
    }

    /// Returns the dispatcher of the service, which sends by a client of its own: connections
    /// belong to the thread that has opened them.
    pub fn dispatcher(&self, client: DeliveryClient, shutdown: Shutdown) -> Dispatcher {
        let courier = Courier {
            database: self.database.clone(),
            client,
            secrets: self.secrets.clone(),
            dispatcher_sid: Uuid::now_v7(),
            connections: Connections::of(&self.database),
        };
        Dispatcher::new(courier, shutdown)
    }

    /// The key of secrets.
    pub fn secrets(&self) -> &SecretBox {
        &self.secrets
    }

    /// Returns what a write by a token with these scopes is checked against.
    pub fn rules(&self, scopes: &[Scope]) -> EndpointRules {
        EndpointRules { scopes: scopes.to_vec(), addresses: self.client.rules().clone() }
    }

    /// Sends a test event now.
    ///
    /// # Errors
    /// [`ApiError::Conflict`] if the settings have no key; [`ApiError::TooManyRequests`] if too
    /// many tests run.
    pub async fn test(&self, endpoint: &EventEndpoint) -> Result<DeliveryAttempt, ApiError> {
        let signer = endpoint.signer(&self.secrets, date::now())?;
        let busy = |_| ApiError::TooManyRequests { retry_after: 1 };
        let _permit = self.tests.try_acquire().map_err(busy)?;
        let message = event::test(endpoint.endpoint_sid);
        Ok(self.client.send(endpoint.url.as_str(), &signer, &message).await.into())
    }

    /// Delivers past events of the endpoint again.
    ///
    /// # Errors
    /// [`ApiError::Invalid`] if no event can be in the range; [`ApiError::Conflict`] if too many
    /// replays of the endpoint are not complete.
    pub async fn replay(
        &self,
        actor: &Actor,
        endpoint: &EventEndpoint,
        request: ReplayRequest,
    ) -> Result<(), ApiError> {
        let add = async {
            let mut lease = self.database.transactions().acquire(actor).await?;
            Replay::add(&mut lease.connection, endpoint, request).await
        };
        within_limit(add).await
    }
}
