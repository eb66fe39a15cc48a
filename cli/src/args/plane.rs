//! What can be typed about data planes.

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub enum Dataplane {
    /// List all that follow, or have followed
    #[command(visible_alias = "ls")]
    List,
    /// Show one
    #[command(visible_alias = "get")]
    Status(Plane),
    /// It does not lead and says that it is not ready; what reaches it all the same is served
    Drain(Plane),
    /// It may lead and is ready again
    Undrain(Plane),
    /// Give your word that it is dead and will not come back as it was, as of a machine that lost its power: what it held
    /// goes to others
    Fence(Fence),
}

#[derive(Debug, Args)]
pub struct Plane {
    /// Its id, or the beginning of it
    #[arg(value_name = "NAME")]
    pub name: String,
}

#[derive(Debug, Args)]
pub struct Fence {
    #[command(flatten)]
    pub plane: Plane,
    /// Only when this is its latest incarnation, as `dataplane status` shows it
    #[arg(long, default_value_t = 0, hide_default_value = true, value_name = "N")]
    pub incarnation: u64,
}
