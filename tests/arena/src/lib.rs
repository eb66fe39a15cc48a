//! The placement simulator: what a rule for placing requests is worth, in virtual time.
//!
//! `engine` lets the requests of `work` arrive at the servers of `fleet`, whose caches are those of `cache`. Who
//! places them is an `engine::Player`, which sees the whole world, or a `placer::Placer`, which sees what a router
//! does: the product's core is one of the latter, by `product`.

pub mod books;
pub mod cache;
pub mod engine;
pub mod fleet;
pub mod placer;
pub mod policy;
pub mod product;
pub mod published;
pub mod report;
pub mod rivals;
pub mod rng;
pub mod scene;
pub mod score;
pub mod table;
pub mod work;
