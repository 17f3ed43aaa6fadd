DROP TABLE alert_condition;
DROP TABLE alert_delivery;
DROP TABLE alert;
DROP TABLE sync_pause;
DROP TABLE sync_turn;
DROP TABLE schedule;
