DROP TABLE membership_step;
DROP TABLE rollout;
DROP TABLE definition;
