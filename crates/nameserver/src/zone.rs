//! Routes within a zone (`ZoneRouteRPCHook` of the reference).

use wire::body::route::{BrokerData, TopicRouteData};

/// Leaves the brokers of a zone in a route. Groups without a master stay as well: they can only be
/// read, and are read wherever they are.
pub(crate) fn narrow(route: &mut TopicRouteData, zone: &str) {
    let stays = |group: &BrokerData| {
        let in_zone = group
            .zone_name
            .as_deref()
            .is_some_and(|name| name.eq_ignore_ascii_case(zone));
        in_zone || group.master().is_none()
    };
    let TopicRouteData {
        broker_datas,
        queue_datas,
        filter_server_table,
        ..
    } = route;
    for group in broker_datas.extract_if(.., |group| !stays(group)) {
        queue_datas.retain(|queue| queue.broker_name != group.broker_name);
        for address in group.broker_addrs.values() {
            filter_server_table.remove(address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::body::route::QueueData;

    #[test]
    fn other_zones_go_and_groups_without_master_stay() {
        let group = |name: &str, id, zone: Option<&str>| BrokerData {
            broker_addrs: [(id, format!("{name}:1"))].into(),
            broker_name: name.to_owned(),
            zone_name: zone.map(str::to_owned),
            ..BrokerData::default()
        };
        let queue = |name: &str| QueueData {
            broker_name: name.to_owned(),
            ..QueueData::default()
        };
        let mut route = TopicRouteData {
            broker_datas: vec![
                group("near", 0, Some("Zone-1")),
                group("far", 0, Some("zone-2")),
                group("none", 0, None),
                group("replica", 1, Some("zone-2")),
            ],
            queue_datas: ["near", "far", "none", "replica"].map(queue).into(),
            filter_server_table: ["near:1", "far:1"]
                .map(|address| (address.to_owned(), vec!["f".to_owned()]))
                .into(),
            ..TopicRouteData::default()
        };
        narrow(&mut route, "zone-1");
        let names: Vec<_> = route
            .broker_datas
            .iter()
            .map(|group| &group.broker_name[..])
            .collect();
        assert_eq!(names, ["near", "replica"]);
        let names: Vec<_> = route
            .queue_datas
            .iter()
            .map(|queue| &queue.broker_name[..])
            .collect();
        assert_eq!(names, ["near", "replica"]);
        assert_eq!(
            route.filter_server_table.keys().collect::<Vec<_>>(),
            ["near:1"]
        );
    }
}
