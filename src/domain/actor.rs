//! Who calls, and who is named in the timeline and the audit.

use std::{fmt, str::FromStr};

use scanback_wallet::{MerchantId, OperatorId, StoreId, TerminalId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What a bearer token allows. Source: contract §2 (`token create`) and §3 (column "who").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// A device at the till: scans, previews, refunds with a fresh scan.
    Terminal,
    /// The merchant's own system: registers orders, refunds, keeps webhook endpoints.
    Merchant,
    /// Reads, and nothing else.
    Auditor,
    /// Reads the things of every merchant.
    Admin,
}

/// A word that names no role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: one of {allowed}")]
pub struct UnknownRole {
    what: &'static str,
    allowed: &'static str,
}

impl Role {
    /// The word of the contract.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Terminal => "terminal",
            Self::Merchant => "merchant",
            Self::Auditor => "auditor",
            Self::Admin => "admin",
        }
    }
}

impl FromStr for Role {
    type Err = UnknownRole;
    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        [Self::Terminal, Self::Merchant, Self::Auditor, Self::Admin]
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or(UnknownRole { what: "a token's role", allowed: "terminal, merchant, auditor, admin" })
    }
}

/// What a person with a PIN may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperatorRole {
    /// Asks for refunds.
    Cashier,
    /// Also decides on them.
    Manager,
    /// Also decides on those that no person asked for.
    Finance,
}

impl OperatorRole {
    /// The word of the contract.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cashier => "cashier",
            Self::Manager => "manager",
            Self::Finance => "finance",
        }
    }
}

impl FromStr for OperatorRole {
    type Err = UnknownRole;
    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        [Self::Cashier, Self::Manager, Self::Finance]
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or(UnknownRole { what: "an operator's role", allowed: "cashier, manager, finance" })
    }
}

/// The caller of the API: the token that was shown, resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The token's id.
    pub token_id: Uuid,
    /// What it allows.
    pub role: Role,
    /// Whose things it sees.
    pub merchant_id: MerchantId,
    /// The device, for a terminal's token.
    pub terminal_id: Option<TerminalId>,
    /// The shop, where the token names one.
    pub store_id: Option<StoreId>,
}

impl Caller {
    /// The merchant whose things this caller sees; `None` means every merchant's.
    #[must_use]
    pub fn sees(&self) -> Option<&MerchantId> {
        match self.role {
            Role::Admin => None,
            Role::Terminal | Role::Merchant | Role::Auditor => Some(&self.merchant_id),
        }
    }
}

/// Who did something, as the timeline and the audit name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// A person with a PIN.
    Operator(OperatorId),
    /// A device.
    Terminal(TerminalId),
    /// The merchant's system, by its token.
    Token(Uuid),
    /// The wallet, by an answer or a notification.
    Wallet,
    /// Scanback itself: the follower, recovery.
    System,
}

impl Actor {
    /// Who stands behind a call: the person where one is named, else the device, else the token.
    #[must_use]
    pub fn of(caller: &Caller, operator: Option<&OperatorId>) -> Self {
        match (operator, &caller.terminal_id) {
            (Some(operator), _) => Self::Operator(operator.clone()),
            (None, Some(terminal)) => Self::Terminal(terminal.clone()),
            (None, None) => Self::Token(caller.token_id),
        }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operator(id) => write!(f, "operator:{id}"),
            Self::Terminal(id) => write!(f, "terminal:{id}"),
            Self::Token(id) => write!(f, "token:{id}"),
            Self::Wallet => f.write_str("wallet"),
            Self::System => f.write_str("scanback"),
        }
    }
}
