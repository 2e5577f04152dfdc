//! WHEP: who has no token, or another's, who asks too much, and foreign pages. Everybody is refused with
//! a code and counted once, and nobody else notices.

use serde_json::json;

use crate::attack::EXPIRED;
use crate::client::Peer;
use crate::guarded::{Guarded, foreign_token};
use crate::http::{Answer, request};
use crate::whep::{FRAGMENT, HOST, OFFER, SDP, play_as};

fn bearing(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

fn said(answer: &Answer) -> (u16, String) {
    (answer.status, answer.code())
}

/// A session of a player with this token; its place.
async fn session(broker: &Guarded, robot: &mut Peer, token: &str) -> String {
    let headers = format!("{SDP}{}", bearing(token));
    let (created, ..) = play_as(broker.address, robot, "/whep/rover-1", &headers, true).await;
    assert_eq!(created.status, 201, "{created:?}");
    created.header("location").to_owned()
}

#[tokio::test]
async fn nobody_plays_a_robot_that_his_token_does_not_show() {
    let broker = Guarded::start("");
    let mut bystanders = broker.bystanders().await;
    let mut robot = broker.robot("rover-1").await;
    let post = async |path: &str, headers: &str| {
        request(broker.address, "POST", path, &format!("{SDP}{headers}"), OFFER).await
    };
    for headers in [String::new(), bearing("x"), bearing(&foreign_token("view:*"))] {
        let refused = post("/whep/rover-1", &headers).await;
        assert_eq!(said(&refused), (401, "unauthorized".to_owned()), "{headers}");
        assert_eq!(refused.header("www-authenticate"), "Bearer");
    }
    assert_eq!(broker.refused("unauthorized").await, 3);
    let expired = post("/whep/rover-1", &bearing(EXPIRED)).await;
    assert_eq!(said(&expired), (401, "token-expired".to_owned()));
    assert_eq!(broker.refused("token-expired").await, 1);

    // The same words whether it is hidden or not there.
    for scope in ["publish:rover-1", "control:rover-1 metrics", "view:rover-2", "view:rover"] {
        let headers = bearing(&broker.token(scope));
        let hidden = post("/whep/rover-1", &headers).await;
        assert_eq!(said(&hidden), (404, "unknown-peer".to_owned()), "{scope}");
        let away = post("/whep/made-up", &headers).await;
        assert_eq!(away.body, hidden.body.replace("rover-1", "made-up"));
    }
    assert_eq!(broker.refused("unknown-peer").await, 8);

    let headers = bearing(&broker.token("view:rover-1/front"));
    let refused = post("/whep/rover-1/rear", &headers).await;
    assert_eq!(said(&refused), (403, "forbidden".to_owned()));
    assert_eq!(broker.refused("forbidden").await, 1);
    robot.hear_nothing_else().await;
    let headers = format!("{SDP}{headers}");
    let (created, start, _) =
        play_as(broker.address, &mut robot, "/whep/rover-1", &headers, true).await;
    assert_eq!((created.status, &start["cameras"]), (201, &json!(["front"])));
    bystanders.notice_nothing().await;
}

#[tokio::test]
async fn a_session_is_for_who_began_it() {
    let broker = Guarded::start("");
    let mut bystanders = broker.bystanders().await;
    let mut robot = broker.robot("rover-1").await;
    let place = session(&broker, &mut robot, &broker.token("view:rover-1")).await;
    let trickled = format!("a={HOST}\r\n");
    let ask = async |method: &str, place: &str, headers: &str| {
        request(broker.address, method, place, &format!("{FRAGMENT}{headers}"), &trickled).await
    };
    let stranger = bearing(&broker.token("view:* publish:* control:*"));
    let made_up = format!("{place}0");
    for method in ["PATCH", "DELETE"] {
        let refused = ask(method, &place, "").await;
        assert_eq!(said(&refused), (401, "unauthorized".to_owned()), "{method}");
        let refused = ask(method, &place, &stranger).await;
        assert_eq!(said(&refused), (403, "forbidden".to_owned()), "{method}");
        let refused = ask(method, &made_up, &stranger).await;
        assert_eq!(said(&refused), (404, "unknown-session".to_owned()), "{method}");
    }
    for code in ["unauthorized", "forbidden", "unknown-session"] {
        assert_eq!(broker.refused(code).await, 2, "{code}");
    }
    robot.hear_nothing_else().await;

    // Another token of the same subject is as good.
    let owner = bearing(&broker.token("view:rover-1"));
    assert_eq!(ask("PATCH", &place, &owner).await.status, 204);
    assert_eq!(robot.hear_a("peer").await["ice"]["candidate"], HOST);
    assert_eq!(ask("DELETE", &place, &owner).await.status, 200);
    robot.hear_a("endSession").await;
    bystanders.notice_nothing().await;
}

#[tokio::test]
async fn who_asks_too_much_or_from_a_foreign_page_is_counted() {
    let broker = Guarded::start("[whep]\nmax_sessions_per_address = 1");
    let mut bystanders = broker.bystanders().await;
    let mut robot = broker.robot("rover-1").await;
    let token = broker.token("view:rover-1");
    let headers = format!("{SDP}{}", bearing(&token));
    session(&broker, &mut robot, &token).await;
    let refused = request(broker.address, "POST", "/whep/rover-1", &headers, OFFER).await;
    assert_eq!(said(&refused), (429, "too-many-sessions".to_owned()));
    assert_eq!(broker.refused("too-many-sessions").await, 1);

    let headers = format!("{headers}Origin: https://evil.example\r\n");
    for method in ["OPTIONS", "POST"] {
        let refused = request(broker.address, method, "/whep/rover-1", &headers, OFFER).await;
        assert_eq!(said(&refused), (403, "forbidden".to_owned()), "{method}");
    }
    assert_eq!(broker.refused("forbidden").await, 2);
    let headers = format!("{SDP}{}", bearing(&token));
    let refused = request(broker.address, "POST", "/whep/rover-1", &headers, "v=0").await;
    assert_eq!(said(&refused), (400, "bad-sdp".to_owned()));
    assert_eq!(broker.refused("bad-sdp").await, 1);
    robot.hear_nothing_else().await;
    bystanders.notice_nothing().await;
}

/// A session makes a robot work: twenty times as dear as a message.
#[tokio::test]
async fn a_flood_of_offers_does_not_keep_a_robot_busy() {
    let broker = Guarded::start("[limits]\nmessages_per_s = 1\nmessage_burst = 100");
    let mut robot = broker.robot("rover-1").await;
    let headers = format!("{SDP}{}", bearing(&broker.token("view:rover-1")));
    let mut started = 0;
    let refused = loop {
        let mut posted =
            Box::pin(request(broker.address, "POST", "/whep/rover-1", &headers, OFFER));
        let start = tokio::select! {
            refused = &mut posted => break refused,
            start = robot.hear_a("startSession") => start,
        };
        let session = &start["sessionId"];
        let (code, details) = ("not-acceptable", "d");
        let error =
            json!({"type": "error", "details": details, "code": code, "sessionId": session});
        robot.say(error).await;
        assert_eq!(said(&posted.await), (406, code.to_owned()));
        robot.hear_a("endSession").await;
        started += 1;
        assert!(started < 20, "never refused");
    };
    assert_eq!(said(&refused), (429, "rate-limited".to_owned()));
    assert_eq!(broker.refused("rate-limited").await, 1);
    // They are the robot's words, not the broker's.
    assert_eq!(broker.refused("not-acceptable").await, 0);
    // A slow host gives back some in the meantime.
    assert!((5..8).contains(&started), "{started}");
    robot.hear_nothing_else().await;
}
