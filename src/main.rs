//! stub main
#![allow(clippy::all, clippy::print_stdout, clippy::expect_used)]
use std::sync::Arc;
fn main() {
    let set: Vec<String> = std::env::args().skip(1).filter(|a| a != "--set").collect();
    let config = dohle::config::load(None, &set).expect("config");
    tracing_subscriber::fmt()
        .with_env_filter(config.log_level.clone())
        .init();
    let rt = dohle::runtime::build(config.worker_threads as usize).expect("rt");
    rt.block_on(async {
        let bound = dohle::broker::bind_listeners(&config)
            .await
            .unwrap_or_else(|e| {
                println!("{e}");
                std::process::exit(1)
            });
        let b = dohle::broker::start(
            config,
            bound,
            Arc::new(
                dohle::metrics::Metrics::new(dohle::api::APIS.iter().map(|a| (a.key, a.name)))
                    .expect("m"),
            ),
            &Default::default(),
        )
        .await
        .unwrap_or_else(|e| {
            println!("{e}");
            std::process::exit(1)
        });
        for l in &b.listeners {
            println!("kafka listening on {}", l.advertised);
        }
        let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
            .expect("signal");
        tokio::select! { _ = tokio::signal::ctrl_c() => {}, _ = term.recv() => {} }
        b.stop().await;
    });
}
