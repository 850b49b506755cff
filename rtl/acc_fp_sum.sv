// The sum of a vector in the order of docs/numerics.md: element i goes to partial i mod 64, then halves are added. 16
// elements a beat, a beat every cycle: each of the 16 adders works at four partials in turn, a cycle each. The result
// stands 37 cycles after the last beat; then the next vector may begin. Elements behind the vector are +0.
`default_nettype none
module acc_fp_sum (
  input  logic          clk_i,
  input  logic          rst_ni,
  input  logic          in_valid_i,
  output logic          in_ready_o,
  input  logic [511:0]  x_i,
  input  logic          last_i,
  output logic          out_valid_o,
  input  logic          out_ready_i,
  output logic [31:0]   sum_o
);
  // A step of the fold: partials 32 apart (two places of each lane), 16 apart, then lanes 8, 4, 2 and 1 apart.
  typedef enum logic [1:0] {Take = 2'd0, Fold = 2'd1, Done = 2'd2} phase_e;
  phase_e     phase_q;
  logic [1:0] slot_q;     // place that the next beat goes to: partials 16 * slot + lane
  logic [2:0] fold_q;     // addition that is next; 7: none
  logic [2:0] wait_q;     // cycles until it may begin
  logic       start, taken;
  logic [3:0] valid_q, fresh_q;  // fresh_q: places that hold nothing of this vector yet
  logic [7:0] slots_q;           // where the sums on their way go
  logic [1:0] slot;
  assign taken       = in_valid_i && in_ready_o;
  assign in_ready_o  = phase_q == Take;
  assign out_valid_o = phase_q == Done;
  assign start       = phase_q == Fold && wait_q == 3'd0 && fold_q != 3'd7;
  assign slot        = phase_q == Take ? slot_q : {1'b0, fold_q == 3'd1};

  logic [511:0] places [0:3];  // partials; a place's lanes in order
  logic [511:0] held, sums;
  assign held = valid_q[3] && slots_q[7:6] == slot ? sums : fresh_q[slot] ? 512'd0 : places[slot];

  for (genvar l = 0; l < 16; l++) begin : gen_lane
    logic [31:0] other;
    always_comb begin
      unique case (fold_q)
        3'd0:    other = fresh_q[2] ? 32'd0 : places[2][l*32 +: 32];
        3'd1:    other = fresh_q[3] ? 32'd0 : places[3][l*32 +: 32];
        3'd2:    other = places[1][l*32 +: 32];
        3'd3:    other = places[0][(l + 8)%16*32 +: 32];
        3'd4:    other = places[0][(l + 4)%16*32 +: 32];
        3'd5:    other = places[0][(l + 2)%16*32 +: 32];
        default: other = places[0][(l + 1)%16*32 +: 32];
      endcase
    end
    acc_fp_add u_add (.clk_i, .a_i(held[l*32 +: 32]), .b_i(phase_q == Take ? x_i[l*32 +: 32] : other),
                      .y_o(sums[l*32 +: 32]));
  end
  assign sum_o = places[0][31:0];

  always_ff @(posedge clk_i) begin
    if (valid_q[3]) places[slots_q[7:6]] <= sums;
    slots_q <= {slots_q[5:0], slot};
    if (!rst_ni) begin
      phase_q <= Take;
      slot_q  <= '0;
      fold_q  <= '0;
      wait_q  <= '0;
      valid_q <= '0;
      fresh_q <= '1;
    end else begin
      valid_q <= {valid_q[2:0], taken || start};
      if (taken) begin
        slot_q          <= last_i ? 2'd0 : slot_q + 2'd1;
        fresh_q[slot_q] <= 1'b0;
        if (last_i) begin
          phase_q <= Fold;
          fold_q  <= 3'd0;
          wait_q  <= 3'd4;  // until the last beat's sums stand
        end
      end
      if (phase_q == Fold) begin
        wait_q <= wait_q - 3'd1;
        if (start) begin
          // Partials 32 apart are two additions back to back; all others wait for what they build on.
          fold_q <= fold_q + 3'd1;
          wait_q <= fold_q == 3'd0 ? 3'd0 : 3'd4;
          if (fold_q == 3'd0) fresh_q[0] <= 1'b0;
          if (fold_q == 3'd1) fresh_q[1] <= 1'b0;
        end
        if (wait_q == 3'd0 && fold_q == 3'd7) phase_q <= Done;
      end
      if (out_valid_o && out_ready_i) begin
        phase_q <= Take;
        fresh_q <= '1;
      end
    end
  end
endmodule
`default_nettype wire
