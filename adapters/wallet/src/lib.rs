//! What every wallet adapter shares: money, numbers, outcomes, the Wallet trait
