//! `llmctl dataplane`: list, status, drain, undrain, fence.

use proto::v1;

use crate::{
    args::{Dataplane, Output},
    client::Client,
    failure::Failure,
    out::show,
    render,
    time::now_ms,
};

/// Runs one of them.
///
/// # Errors
/// The [`Failure`] that decides the exit code.
pub async fn run(client: &Client, output: Output, command: Dataplane) -> Result<(), Failure> {
    let (client_rpc, id) = (client.rpc(), |name: String| id(client, name));
    let mut rpc = client_rpc;
    let (plane, word) = match command {
        Dataplane::List => {
            let list = client.answer(rpc.list_data_planes(v1::ListDataPlanesRequest {})).await?;
            show(output, "ListDataPlanesResponse", &list, || {
                render::status::planes(&list.data_planes, now_ms())
            });
            return Ok(());
        }
        Dataplane::Status(plane) => {
            let request = v1::GetDataPlaneRequest { id: id(plane.name).await? };
            (client.answer(rpc.get_data_plane(request)).await?, "")
        }
        Dataplane::Drain(plane) => {
            let request = v1::DrainDataPlaneRequest { id: id(plane.name).await? };
            (client.answer(rpc.drain_data_plane(request)).await?, "drains")
        }
        Dataplane::Undrain(plane) => {
            let request = v1::UndrainDataPlaneRequest { id: id(plane.name).await? };
            (client.answer(rpc.undrain_data_plane(request)).await?, "drains no more")
        }
        Dataplane::Fence(fence) => {
            let (id, incarnation) = (id(fence.plane.name).await?, fence.incarnation);
            let request = v1::FenceDataPlaneRequest { id, incarnation };
            (client.answer(rpc.fence_data_plane(request)).await?, "is fenced: nothing is kept for it")
        }
    };
    show(output, "DataPlane", &plane, || match word {
        "" => render::plane::details(&plane, now_ms()),
        word => format!("data plane {} {word}\n", render::plain(&plane.id)),
    });
    Ok(())
}

/// The one id that begins so.
async fn id(client: &Client, name: String) -> Result<String, Failure> {
    let list = client.answer(client.rpc().list_data_planes(v1::ListDataPlanesRequest {})).await?.data_planes;
    named(&list, &name)
}

fn named(list: &[v1::DataPlane], name: &str) -> Result<String, Failure> {
    if list.iter().any(|plane| plane.id == name) {
        return Ok(name.to_owned());
    }
    let begin: Vec<&v1::DataPlane> = list.iter().filter(|plane| plane.id.starts_with(name)).collect();
    match begin[..] {
        [one] if !name.is_empty() => Ok(one.id.clone()),
        [] => Err(Failure::NotFound(format!("no data plane is called {name:?}"))),
        _ => Err(Failure::Input(format!(
            "{} data planes are called {name:?}…: give more of the id",
            begin.len()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_of_an_id_is_enough_where_it_is_the_only_one() {
        let plane = |id: &str| v1::DataPlane { id: id.to_owned(), ..v1::DataPlane::default() };
        let list = ["ab", "abc", "ad"].map(plane);
        for (name, want) in
            [("ab", Some("ab")), ("abc", Some("abc")), ("ad", Some("ad")), ("a", None), ("", None)]
        {
            assert_eq!(named(&list, name).ok().as_deref(), want, "{name}");
        }
        assert_eq!((named(&list, "a").unwrap_err().code(), named(&list, "x").unwrap_err().code()), (2, 3));
    }
}
