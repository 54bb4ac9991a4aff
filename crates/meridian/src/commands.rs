//! All commands, one file each.

mod cert;
mod consume;
mod demo;
mod dump;
mod group;
mod produce;
mod serve;
mod site;
mod topic;
mod verify;

use std::process::ExitCode;

use clap::Subcommand;

/// What can be done. Where a variant says nothing, its arguments' own text is shown.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Serve(serve::Serve),
    /// Found a site's data directory: once, before its first start in a new cluster
    Bootstrap(serve::Prepare),
    /// Prepare an empty data directory for a site the cluster already knows, such as one whose disk was lost
    Join(serve::Prepare),
    /// Make certificates for links between sites, show them, and exchange them while sites run
    #[command(subcommand)]
    Cert(cert::Cert),
    /// Create, show, change and delete topics
    #[command(subcommand)]
    Topic(topic::Topic),
    Produce(produce::Produce),
    Consume(consume::Consume),
    /// Show consumer groups
    #[command(subcommand)]
    Group(group::Group),
    /// Show sites: frontiers, lag, what holds the order back
    #[command(subcommand)]
    Site(site::Site),
    Verify(verify::Verify),
    /// Look into a site's files without changing them
    #[command(subcommand)]
    Dump(dump::Dump),
    /// Run three sites on this machine, with a real WAN's delays between them
    Demo(demo::Demo),
}

/// Does it.
pub(crate) async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve(serve) => return serve.run().await,
        Command::Bootstrap(prepare) => prepare.bootstrap()?,
        Command::Join(prepare) => prepare.join()?,
        Command::Cert(cert) => cert.run().await?,
        Command::Topic(topic) => Box::pin(topic.run()).await?,
        Command::Produce(produce) => Box::pin(produce.run()).await?,
        Command::Consume(consume) => Box::pin(consume.run()).await?,
        Command::Group(group) => Box::pin(group.run()).await?,
        Command::Site(site) => site.run().await?,
        Command::Verify(verify) => return Box::pin(verify.run()).await,
        Command::Dump(dump) => dump.run()?,
        Command::Demo(demo) => return demo.run().await,
    }
    Ok(ExitCode::SUCCESS)
}
