//! What the API shows of agents and service instances, and the configurations that it hands out. Who knows them is
//! whoever receives telemetry; this is the seam to it.

use std::sync::Arc;

use model::Clock;
use query_api::{
    AgentConfigAnswer, AgentsAnswer, InventoryAnswer, PushRequest, RollbackRequest, StageRow, StagesAnswer,
};
use thiserror::Error;

/// Why nothing was handed out, taken back or found.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FleetError {
    /// What was asked for is wrong.
    #[error("{0}")]
    Wrong(String),
    /// There is no such agent.
    #[error("{0}")]
    Unknown(String),
    /// It cannot be kept, so it does not hold.
    #[error("{0}")]
    Failed(String),
}

/// Agents and service instances. Its methods may block for a write to the disk, not for longer.
pub trait Fleet: Send + Sync {
    /// Every agent.
    fn agents(&self) -> AgentsAnswer;
    /// Every service and its instances.
    fn inventory(&self) -> InventoryAnswer;
    /// The configurations that are handed out.
    fn stages(&self) -> StagesAnswer;
    /// Hands out a configuration.
    ///
    /// # Errors
    /// When it is wrong or cannot be kept.
    fn push(&self, request: PushRequest) -> Result<StageRow, FleetError>;
    /// Takes one back.
    ///
    /// # Errors
    /// When there is none, or that cannot be kept.
    fn rollback(&self, request: RollbackRequest) -> Result<StageRow, FleetError>;
    /// What an agent runs with.
    ///
    /// # Errors
    /// When there is no such agent.
    fn config(&self, agent: &str) -> Result<AgentConfigAnswer, FleetError>;
}

/// Where nothing is received.
pub(crate) struct NoFleet(pub(crate) Arc<dyn Clock>);

impl NoFleet {
    fn nobody<T>() -> Result<T, FleetError> {
        Err(FleetError::Unknown("this server receives no telemetry and knows no agents".to_owned()))
    }
}

impl Fleet for NoFleet {
    fn agents(&self) -> AgentsAnswer {
        AgentsAnswer { time: self.0.now(), agents: Vec::new() }
    }

    fn inventory(&self) -> InventoryAnswer {
        InventoryAnswer { time: self.0.now(), services: Vec::new() }
    }

    fn stages(&self) -> StagesAnswer {
        StagesAnswer { time: self.0.now(), stages: Vec::new() }
    }

    fn push(&self, _: PushRequest) -> Result<StageRow, FleetError> {
        Self::nobody()
    }

    fn rollback(&self, _: RollbackRequest) -> Result<StageRow, FleetError> {
        Self::nobody()
    }

    fn config(&self, _: &str) -> Result<AgentConfigAnswer, FleetError> {
        Self::nobody()
    }
}
