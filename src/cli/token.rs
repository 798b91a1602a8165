//! `scanback token`: bearer tokens, printed once, kept hashed.

use clap::Subcommand;
use scanback_wallet::{MerchantId, StoreId, TerminalId};
use uuid::Uuid;

use super::{ConfigArgs, now};
use crate::{
    domain::actor::Role,
    ledger::{Ledger, NewToken},
    service::new_token,
};

#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Makes a token and prints it, once and alone
    Create {
        #[command(flatten)]
        config: ConfigArgs,
        /// terminal, merchant, auditor or admin
        #[arg(long)]
        role: Role,
        /// Whose things it sees
        #[arg(long, value_name = "ID")]
        merchant: MerchantId,
        /// For people
        #[arg(long)]
        name: String,
        /// The device; needed for a terminal
        #[arg(long, value_name = "ID")]
        terminal: Option<TerminalId>,
        /// The shop
        #[arg(long, value_name = "ID")]
        store: Option<StoreId>,
    },
    /// Lists the valid tokens: id, role, merchant, name, created
    List {
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Ends a token at once
    Revoke {
        #[command(flatten)]
        config: ConfigArgs,
        /// The token's id, from the list
        id: Uuid,
    },
}

pub(super) async fn run(command: TokenCommand) -> anyhow::Result<()> {
    match command {
        TokenCommand::Create { config, role, merchant, name, terminal, store } => {
            let known = config.settings()?.merchants.iter().any(|one| one.id == merchant);
            anyhow::ensure!(known, "merchant {merchant} is not in the configuration");
            // a terminal without a name of its own is the one of its token
            let terminal = match (role, terminal) {
                (Role::Terminal, None) => Some(TerminalId::parse(&name).map_err(|error| {
                    anyhow::anyhow!("--terminal is missing, and the name can't stand in for it: {error}")
                })?),
                (_, terminal) => terminal,
            };
            let ledger = config.ledger().await?;
            println!("{}", create(&ledger, role, merchant, name, terminal, store).await?);
        }
        TokenCommand::List { config } => {
            for token in config.ledger().await?.tokens().await? {
                let created = token.created_at.strftime("%Y-%m-%dT%H:%M:%SZ");
                println!("{} {} {} {} {created}", token.id, token.role.as_str(), token.merchant_id, token.name);
            }
        }
        TokenCommand::Revoke { config, id } => {
            let revoked = config.ledger().await?.revoke_token(id, now()).await?;
            anyhow::ensure!(revoked, "there is no valid token {id}; `scanback token list` shows them");
        }
    }
    Ok(())
}

/// Makes a token: its text, which nobody can read again.
pub(super) async fn create(
    ledger: &Ledger,
    role: Role,
    merchant_id: MerchantId,
    name: String,
    terminal_id: Option<TerminalId>,
    store_id: Option<StoreId>,
) -> anyhow::Result<String> {
    let (text, hash) = new_token(role)?;
    ledger.add_token(NewToken { hash, role, merchant_id, terminal_id, store_id, name }, now()).await?;
    Ok(text)
}
