//! `scanback operator`: people with a PIN.

use std::io::{self, BufRead as _, IsTerminal as _};

use clap::Subcommand;
use scanback_wallet::{MerchantId, OperatorId};

use super::{ConfigArgs, now};
use crate::{
    domain::actor::OperatorRole,
    ledger::{Ledger, Operator},
    service::{Pin, hash_pin},
};

#[derive(Debug, Subcommand)]
pub(super) enum OperatorCommand {
    /// Adds a person; the PIN (6 to 12 digits) is read from the prompt or standard input
    Add {
        #[command(flatten)]
        config: ConfigArgs,
        /// Whose person
        #[arg(long, value_name = "ID")]
        merchant: MerchantId,
        /// The person's id
        #[arg(long)]
        id: OperatorId,
        /// cashier, manager or finance
        #[arg(long)]
        role: OperatorRole,
    },
}

pub(super) async fn run(command: OperatorCommand) -> anyhow::Result<()> {
    let OperatorCommand::Add { config, merchant, id, role } = command;
    let known = config.settings()?.merchants.iter().any(|one| one.id == merchant);
    anyhow::ensure!(known, "merchant {merchant} is not in the configuration");
    let pin = Pin::parse(read_pin()?.trim())?;
    add(&config.ledger().await?, merchant, id.clone(), role, &pin).await?;
    println!("{id} was added");
    Ok(())
}

pub(super) async fn add(
    ledger: &Ledger,
    merchant: MerchantId,
    operator_id: OperatorId,
    role: OperatorRole,
    pin: &Pin,
) -> anyhow::Result<()> {
    let operator = Operator { operator_id: operator_id.clone(), role, pin_hash: hash_pin(pin)?, locked_until: None };
    let added = ledger.add_operator(merchant, operator, now()).await?;
    anyhow::ensure!(added, "the merchant has an operator {operator_id} already");
    Ok(())
}

fn read_pin() -> io::Result<String> {
    if io::stdin().is_terminal() {
        return rpassword::prompt_password("PIN (6 to 12 digits): ");
    }
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(line)
}
